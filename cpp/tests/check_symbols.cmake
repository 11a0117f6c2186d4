# An object compiled for a wide instruction set may define symbols of its own namespace only. Any other weak symbol (an
# inline function of a shared header, a template of the standard library) could be picked by the linker for everybody,
# and stop the program on a machine without that instruction set.
#   cmake -DNM=nm -DOBJECT=stages.cpp.o -DISA=avx2 -P check_symbols.cmake

execute_process(COMMAND ${NM} -C --defined-only --extern-only ${OBJECT} OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
if(failed OR symbols STREQUAL "")
  message(FATAL_ERROR "nm of ${OBJECT} failed or found nothing")
endif()
string(REPLACE ";" "," symbols "${symbols}")
string(REGEX REPLACE "\n+" ";" lines "${symbols}")
foreach(line IN LISTS lines)
  if(NOT line STREQUAL "" AND NOT line MATCHES "mliuq::simd::${ISA}::")
    message(SEND_ERROR "${OBJECT}: foreign symbol ${line}")
  endif()
endforeach()
