# Triggers of an image and of a stage, with a link that only a trigger has.
FROM triggers AS parent
ONBUILD RUN echo in $STAGE
ONBUILD COPY <<END /from-parent
text
END

FROM parent AS child
ENV STAGE=child
RUN echo after

FROM child
RUN echo grandchild
