# A static binary on an empty image: no shell, no libraries, no root.
#   docker build --build-arg VERSION=$(git describe --tags --always) -t dachs .
#   docker run -p 8080:8080 -v dachs-data:/data dachs

FROM golang:1.26 AS build
WORKDIR /src
# The modules first: this layer stays in the cache until go.mod changes.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/dachs ./cmd/dachs
# A new volume takes over the owner and mode of the directory that it covers.
RUN install -d -m 0700 /out/data

FROM scratch
COPY --from=build /out/dachs /dachs
COPY --from=build --chown=65532:65532 /out/data /data
COPY LICENSE NOTICE /
USER 65532:65532
ENV DACHS_LISTEN=:8080 DACHS_DATA=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s CMD ["/dachs", "healthcheck"]
ENTRYPOINT ["/dachs"]
