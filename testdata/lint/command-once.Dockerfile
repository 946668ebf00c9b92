FROM alpine AS base
CMD ["a"]
CMD b
HEALTHCHECK NONE
HEALTHCHECK CMD true
FROM base
CMD ["c"]
# check=skip=MultipleInstructionsDisallowed
CMD ["d"]
