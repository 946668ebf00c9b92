FROM a
COPY --from=b --chown=$u:g --chmod=0644 --link=true --parents --exclude=**/x a b/ c/
COPY --link=false --from="b c" -- --x /y
COPY --from= a b
copy ["a b", "c"]
