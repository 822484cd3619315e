package dashboard

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

// Budgets in bytes, as DESIGN gives them: of a first visit, of later ones, and of the script.
const (
	firstVisitBudget = 40 << 10
	laterBudget      = 10 << 10
	scriptBudget     = 8 << 10
)

var staticAddress = regexp.MustCompile(`"(/static/[^"]+)"`)

// TestByteBudgets fetches the busiest page as a browser that only knows gzip, and every file it names.
func TestByteBudgets(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	b.site("shop.example", seedShop(b.today()-90, b.today(), 60)...)
	target := "/sites/shop.example?period=91d&f=is_not,visit:source,Bing&f=is_not,visit:country,PL"
	zipped := func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }
	later := b.request(http.MethodGet, target, nil, zipped).Body.Len()
	first := later
	page := b.page(target)
	files := map[string]bool{}
	for _, m := range staticAddress.FindAllStringSubmatch(page, -1) {
		files[m[1]] = true
	}
	if len(files) != 3 {
		t.Fatalf("page names %d files: %v", len(files), files)
	}
	for address := range files {
		w := b.request(http.MethodGet, address, nil, zipped)
		if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: status %d, Cache-Control %q", address, w.Code, w.Header().Get("Cache-Control"))
		}
		first += w.Body.Len()
		if raw := b.get(address).Body.Len(); strings.HasSuffix(address, ".js") && raw > scriptBudget {
			t.Errorf("script has %d bytes, more than %d", raw, scriptBudget)
		}
	}
	t.Logf("first visit %d bytes, later %d", first, later)
	if first > firstVisitBudget || later > laterBudget {
		t.Errorf("first visit %d bytes of %d, later %d of %d", first, firstVisitBudget, later, laterBudget)
	}
}

func TestStaticEncodings(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	address, err := b.server.assets.address("app.css")
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(accept string) (string, []byte) {
		w := b.request(http.MethodGet, address, nil, func(r *http.Request) { r.Header.Set("Accept-Encoding", accept) })
		if got := w.Header().Get("Content-Type"); got != "text/css; charset=utf-8" {
			t.Errorf("Content-Type %q", got)
		}
		return w.Header().Get("Content-Encoding"), w.Body.Bytes()
	}
	_, plain := fetch("identity")
	want, err := staticFiles.ReadFile("static/app.css")
	if err != nil || !bytes.Equal(plain, want) {
		t.Fatalf("plain file differs, %v", err)
	}
	encoding, body := fetch("gzip, deflate, br;q=0")
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil || encoding != "gzip" {
		t.Fatalf("encoding %q, %v", encoding, err)
	}
	if got, err := io.ReadAll(zr); err != nil || !bytes.Equal(got, want) {
		t.Errorf("gzip differs, %v", err)
	}
	encoding, body = fetch("gzip, br")
	if got, err := io.ReadAll(brotli.NewReader(bytes.NewReader(body))); err != nil || encoding != "br" || !bytes.Equal(got, want) {
		t.Errorf("brotli differs: encoding %q, %v", encoding, err)
	}
	if w := b.get("/static/app.css"); w.Code != http.StatusNotFound {
		t.Errorf("file without hash: status %d", w.Code)
	}
}

func TestPageEncoding(t *testing.T) {
	b, _, _ := shop(t)
	w := b.request(http.MethodGet, "/sites/shop.example", nil, func(r *http.Request) { r.Header.Set("Accept-Encoding", "br, gzip") })
	if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Vary") != "Accept-Encoding" {
		t.Fatalf("headers %v", w.Header())
	}
	zr, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(zr)
	if err != nil || string(got) != b.page("/sites/shop.example") {
		t.Errorf("the compressed page differs, %v", err)
	}
}
