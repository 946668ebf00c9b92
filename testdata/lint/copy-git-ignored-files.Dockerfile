FROM scratch
COPY . /src
COPY web /web
COPY --exclude=target . /other
COPY target/release/app /bin/
COPY web/node_modules /modules
# check=skip=CopyGitIgnoredFiles
COPY * /all/
