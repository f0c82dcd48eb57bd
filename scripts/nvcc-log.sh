#!/bin/sh
# Runs a compiler of CUDA sources and keeps what ptxas says about registers and spills beside the object, as
# <object>.ptxas: a test reads it. The build shows everything else, also what ptxas says under a number: that it could
# not compile a wgmma as it is written, for one. CMake puts this before each nvcc command.
object=
previous=
for argument in "$@"; do
  [ "$previous" = -o ] && object=$argument
  previous=$argument
done
"$@" 2>"$object.ptxas"
status=$?
grep -v -E '^ptxas info +: [^(]|bytes stack frame' "$object.ptxas" >&2
exit $status
