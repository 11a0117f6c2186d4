#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <span>
#include <string>
#include <vector>

#include "mliuq/error.hpp"

namespace mliuq::bindings {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

template <class T>
std::vector<T> to_vector(const Array<T>& array) {
  return {array.data(), array.data() + array.size()};
}

template <class T>
std::span<const T> to_span(const Array<T>& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

/// A new array of zeros that C++ fills.
inline py::array_t<double> zeros(std::vector<py::ssize_t> shape) {
  py::array_t<double> array(std::move(shape));
  std::fill_n(array.mutable_data(), array.size(), 0.0);
  return array;
}

void register_descriptor(py::module_& module);
void register_files(py::module_& module);
void register_kernel(py::module_& module);
void register_structure(py::module_& module);
void register_potential(py::module_& module);
void register_rows(py::module_& module);

}  // namespace mliuq::bindings
