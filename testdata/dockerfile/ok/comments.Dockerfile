# comment of the stage
#
# base is described
  #   and more

FROM a AS base
# ARG is described
ARG ARG # not a comment
RUN echo # neither
# trailing
