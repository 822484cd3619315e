package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
)

//go:embed static/*
var staticFiles embed.FS

// contentTypes are those of the files in static; the machine's own table may lack one.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// asset is a static file in the encodings that browsers take.
type asset struct {
	contentType       string
	plain, gzip, brot []byte
}

// assets serves static files under names that hold a hash of their content, so that browsers may keep
// them for good and a new version is a new name.
type assets struct {
	names map[string]string // file name to address
	files map[string]asset  // by name in the address
}

func newAssets(files fs.FS) (*assets, error) {
	a := &assets{names: map[string]string{}, files: map[string]asset{}}
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		return nil, fmt.Errorf("read static files: %w", err)
	}
	for _, e := range entries {
		data, err := fs.ReadFile(files, "static/"+e.Name())
		if err != nil {
			return nil, fmt.Errorf("read static files: %w", err)
		}
		ext := path.Ext(e.Name())
		kind, ok := contentTypes[ext]
		if !ok {
			return nil, fmt.Errorf("static file %s: no content type is known for it", e.Name())
		}
		f, err := compress(data)
		if err != nil {
			return nil, fmt.Errorf("compress static file %s: %w", e.Name(), err)
		}
		f.contentType = kind
		sum := sha256.Sum256(data)
		name := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.names[e.Name()], a.files[name] = "/static/"+name, f
	}
	return a, nil
}

// compress makes the smallest form of each encoding: it happens once.
func compress(data []byte) (asset, error) {
	var zipped, brot bytes.Buffer
	zw, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return asset{}, err
	}
	bw := brotli.NewWriterLevel(&brot, brotli.BestCompression)
	if _, err := zw.Write(data); err != nil {
		return asset{}, err
	}
	if _, err := bw.Write(data); err != nil {
		return asset{}, err
	}
	if err := zw.Close(); err != nil {
		return asset{}, err
	}
	if err := bw.Close(); err != nil {
		return asset{}, err
	}
	return asset{plain: data, gzip: zipped.Bytes(), brot: brot.Bytes()}, nil
}

// address returns where a file is served, for templates. An unknown name fails the page, and its test.
func (a *assets) address(file string) (string, error) {
	if name, ok := a.names[file]; ok {
		return name, nil
	}
	return "", fmt.Errorf("no static file %s", file)
}

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[r.PathValue("name")]
	if !ok {
		http.Error(w, "no such file; reload the page", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := f.plain
	switch {
	case accepts(r, "br"):
		body = f.brot
		h.Set("Content-Encoding", "br")
	case accepts(r, "gzip"):
		body = f.gzip
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // an error here means that the browser has gone: nobody to tell
}

// accepts tells whether a browser takes an encoding. Weights other than a plain refusal are ignored:
// every browser that knows an encoding likes it better than none.
func accepts(r *http.Request, encoding string) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
			if strings.EqualFold(strings.TrimSpace(name), encoding) {
				weight := strings.TrimPrefix(strings.ReplaceAll(params, " ", ""), "q=")
				return strings.Trim(weight, "0.") != "" || weight == ""
			}
		}
	}
	return false
}
