#!/usr/bin/env kiln
# syntax=a/b
# check=skip=all
# escape=`
FROM a
RUN a \
 b
