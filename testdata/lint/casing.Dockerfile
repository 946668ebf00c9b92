FROM alpine as One
FROM alpine AS two
from alpine as three
From alpine as four
copy a /
Run true
