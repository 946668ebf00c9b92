from alpine AS base
run true
RUN false
