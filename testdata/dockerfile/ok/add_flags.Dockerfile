FROM a
ADD --chown=1:2 --chmod=u=rwX,go=rX --link --exclude=*.md --exclude=!x.md --checksum=sha256:00 https://example.com/f /f
ADD --keep-git-dir=TRUE --unpack=false https://example.com/r.git#v1 /r
ADD ["a file", "b$c", "/d ir/"]
