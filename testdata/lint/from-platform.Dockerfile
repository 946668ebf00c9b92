FROM --platform=$TARGETPLATFORM alpine
FROM --platform=${TARGETPLATFORM} alpine AS again
FROM --platform=linux/${TARGETARCH} alpine AS parts
FROM --platform=$BUILDPLATFORM alpine AS tools
FROM --platform=linux/arm64 alpine AS constant
FROM --platform=linux/arm64 alpine AS for-arm64
# check=skip=FromPlatformFlagConstDisallowed
FROM --platform=linux/s390x alpine AS skipped
