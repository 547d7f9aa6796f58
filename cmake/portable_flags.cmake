# Takes flags that tie a build to one processor, or that change what float sums mean, out of what the environment gave
# (CXXFLAGS, a compiler called "g++ -march=native", CMAKE_ARGS): a wheel must run on other machines than its builder's,
# and each kernel file gets the flags of its own instruction set. native/dispatch.cpp refuses to compile if
# some way in was missed.
set(unportable "-march=[^ ]*|-mcpu=[^ ]*|-mtune=[^ ]*|-m(no-)?(avx|sse|ssse|fma|f16c|bmi|amx)[^ ]*|-Ofast|-ffast-math|-fassociative-math|-funsafe-math-optimizations|-ffinite-math-only")
foreach(variable CMAKE_CXX_FLAGS CMAKE_CXX_FLAGS_RELEASE CMAKE_CXX_FLAGS_RELWITHDEBINFO CMAKE_CXX_COMPILER_ARG1)
  string(REGEX MATCHALL "(^| )(${unportable})" found " ${${variable}}")
  if(found)
    string(REGEX REPLACE "(^| )(${unportable})" "" ${variable} " ${${variable}}")
    string(STRIP "${${variable}}" ${variable})
    message(STATUS "Left out, because the build must run on any machine:${found}")
  endif()
endforeach()
