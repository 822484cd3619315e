package script

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

// The script is loaded on each page of each site, so its size is part of its contract.
func TestSize(t *testing.T) {
	for _, c := range []struct {
		name  string
		data  []byte
		limit int
	}{
		{"minified", Bytes(), 1250},
		{"brotli", Brotli(), 700},
	} {
		t.Logf("%s: %d bytes of %d", c.name, len(c.data), c.limit)
		if len(c.data) == 0 || len(c.data) > c.limit {
			t.Errorf("%s: %d bytes, want at most %d", c.name, len(c.data), c.limit)
		}
	}
	t.Logf("gzip: %d bytes", len(Gzip()))
}

func TestCompressed(t *testing.T) {
	for name, open := range map[string]func() (io.Reader, error){
		"gzip":   func() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(Gzip())) },
		"brotli": func() (io.Reader, error) { return brotli.NewReader(bytes.NewReader(Brotli())), nil },
	} {
		r, err := open()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, Bytes()) {
			t.Errorf("%s: unpacks to %d bytes, %v, want the %d of Bytes", name, len(got), err, len(Bytes()))
		}
	}
}

func TestHash(t *testing.T) {
	if h := Hash(); len(h) != 16 || strings.Trim(h, "0123456789abcdef") != "" {
		t.Errorf("hash = %q, want 16 hexadecimal digits", h)
	}
}

// What is served must be what can be read: the very command of go generate gives the committed bytes.
func TestGenerated(t *testing.T) {
	source, err := os.ReadFile("embed.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(source), "//go:generate ")
	directive, _, _ := strings.Cut(rest, "\n")
	out := filepath.Join(t.TempDir(), "out.js")
	args := strings.Fields(strings.Replace(directive, "--outfile=script.min.js", "--outfile="+out, 1))
	if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, text)
	}
	made, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, Bytes()) {
		t.Error("script.min.js is not what script.js makes: run go generate ./script and commit both")
	}
}
