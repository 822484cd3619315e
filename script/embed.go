// Package script holds the script that counted pages load: its readable source is script.js, what is
// served is script.min.js, made from it by go generate. The script's protocol is what the tracker decodes.
package script

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
)

//go:generate go tool esbuild script.js --minify --target=es2021 --charset=utf8 --log-level=warning --outfile=script.min.js

//go:embed script.min.js
var minified string

// hashLength is the length of Hash in hexadecimal digits: 64 bits tell versions of one file apart.
const hashLength = 16

// Each is made at its first use and kept: compressing takes longer than a request may.
var (
	plain      = sync.OnceValue(func() []byte { return []byte(minified) })
	hash       = sync.OnceValue(sum)
	gzipped    = sync.OnceValue(compressGzip)
	brotlified = sync.OnceValue(compressBrotli)
)

// Bytes returns the script as it is served. The caller must not change it.
// This and the other functions may be called from many goroutines.
func Bytes() []byte { return plain() }

// Hash returns a short hexadecimal hash of the script, for an ETag or an address that can be cached for good.
func Hash() string { return hash() }

// Gzip returns Bytes compressed for Content-Encoding: gzip. The caller must not change it.
func Gzip() []byte { return gzipped() }

// Brotli returns Bytes compressed for Content-Encoding: br. The caller must not change it.
func Brotli() []byte { return brotlified() }

func sum() string {
	digest := sha256.Sum256(plain())
	return hex.EncodeToString(digest[:])[:hashLength]
}

func compressGzip() []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(fmt.Sprintf("BUG: compress script: %v", err)) // the level is a constant
	}
	finish(w)
	return b.Bytes()
}

func compressBrotli() []byte {
	var b bytes.Buffer
	finish(brotli.NewWriterLevel(&b, brotli.BestCompression))
	return b.Bytes()
}

// finish writes the script to a compressor. Writing to memory does not fail.
func finish(w io.WriteCloser) {
	if _, err := w.Write(plain()); err != nil {
		panic(fmt.Sprintf("BUG: compress script: %v", err))
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("BUG: compress script: %v", err))
	}
}
