package script

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what must come; it is spent only where the test fails.
const patience = 20 * time.Second

// tag is the tag that site owners paste, with further attributes.
func tag(attributes string) string {
	return `<script defer src="/d.js" data-domain="example.com"` + attributes + `></script>`
}

// stub is what pages define to call dachs before the script is there.
const stub = `<script>window.dachs=window.dachs||function(){(dachs.q=dachs.q||[]).push(arguments)}</script>`

// received is a request that the script has sent.
type received struct {
	payload map[string]any
	header  http.Header
	method  string
}

// receiver is the web server of one test: its pages, the script, and what comes back.
type receiver struct {
	tb     testing.TB
	server *httptest.Server
	pages  map[string]string // HTML by path
	policy string            // Content-Security-Policy of pages
	answer http.HandlerFunc  // to hits; nil: 202

	mu   sync.Mutex // guards got and told
	got  []received
	told chan struct{} // closed and replaced with each hit
}

// serve starts a receiver whose pages all carry the same head.
func serve(tb testing.TB, head string) *receiver {
	tb.Helper()
	r := &receiver{tb: tb, pages: map[string]string{}, told: make(chan struct{})}
	for _, p := range []string{"/", "/a", "/b", "/c"} {
		r.pages[p] = htmlPage(head, p)
	}
	r.server = httptest.NewServer(r)
	tb.Cleanup(r.server.Close)
	return r
}

func htmlPage(head, title string) string {
	return `<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>` + title + `</title>` + head +
		`</head><body><h1>` + title + `</h1><button id="plain">plain</button>` +
		`<button id="buy" data-dachs-event="Buy"><b id="inner">now</b></button></body></html>`
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.URL.Path == "/d.js" && req.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/javascript")
		w.Write(Bytes())
	case req.URL.Path == "/d.js":
		r.record(w, req)
	case r.pages[req.URL.Path] != "":
		if r.policy != "" {
			w.Header().Set("Content-Security-Policy", r.policy)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte(r.pages[req.URL.Path]))
	default:
		http.NotFound(w, req)
	}
}

func (r *receiver) record(w http.ResponseWriter, req *http.Request) {
	got := received{method: req.Method, header: req.Header.Clone()}
	if err := json.NewDecoder(req.Body).Decode(&got.payload); err != nil && req.Method == http.MethodPost {
		r.tb.Errorf("body of a hit: %v", err)
	}
	r.mu.Lock()
	r.got = append(r.got, got)
	close(r.told)
	r.told = make(chan struct{})
	r.mu.Unlock()
	// What a hostile or careless server could try: the script must not let it stick.
	w.Header().Set("Set-Cookie", "tracked=1; Path=/")
	if r.answer != nil {
		r.answer(w, req)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// wait returns what has come once ok says that it is enough.
func (r *receiver) wait(what string, ok func([]received) bool) []received {
	r.tb.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		got, told := slices.Clone(r.got), r.told
		r.mu.Unlock()
		if ok(got) {
			return got
		}
		select {
		case <-told:
		case <-timeout:
			r.tb.Fatalf("waiting for %s: got %s", what, strings.Join(names(got), ", "))
		}
	}
}

// names writes each hit as name and path, in the order in which they came.
func names(got []received) []string {
	var s []string
	for _, g := range got {
		url, _ := g.payload["u"].(string)
		_, rest, _ := strings.Cut(url, "://")
		_, path, _ := strings.Cut(rest, "/")
		s = append(s, fmt.Sprintf("%v /%s", g.payload["n"], path))
	}
	return s
}

// tab is a tab of its own profile in the browser: no cookie or storage of another test is in it.
type tab struct {
	*receiver
	ctx        context.Context
	mu         sync.Mutex // guards exceptions
	exceptions []string
}

// findChromium returns the browser, or skips the test: it is the one thing that go test cannot bring along.
func findChromium(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Skip("no chromium, chromium-browser or google-chrome in PATH: install Debian's package chromium to test the script in a browser")
	return ""
}

// startBrowser starts one Chromium for all tests that are given its context.
func startBrowser(tb testing.TB) context.Context {
	tb.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(findChromium(tb)), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		// The drivers' defaults hide what the script is about: tabs in the background and pages kept for the back button.
		chromedp.Flag("disable-renderer-backgrounding", false), chromedp.Flag("disable-backgrounding-occluded-windows", false),
		chromedp.Flag("disable-features", "Translate"),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	tb.Cleanup(cancel)
	browser, cancel := chromedp.NewContext(allocator)
	tb.Cleanup(cancel)
	if err := chromedp.Do(browser); err != nil {
		tb.Fatalf("start chromium: %v", err)
	}
	return browser
}

// open makes a tab in a new profile.
func open(tb testing.TB, browser context.Context, r *receiver) *tab {
	tb.Helper()
	return newTab(tb, browser, r, chromedp.WithNewBrowserContext())
}

// newTab makes a tab that reports exceptions of its pages as failures of the test.
func newTab(tb testing.TB, parent context.Context, r *receiver, options ...chromedp.ContextOption) *tab {
	tb.Helper()
	ctx, cancel := chromedp.NewContext(parent, options...)
	tb.Cleanup(cancel)
	t := &tab{receiver: r, ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*runtime.EventExceptionThrown); ok {
			t.mu.Lock()
			t.exceptions = append(t.exceptions, e.ExceptionDetails.Text+" "+describe(e.ExceptionDetails.Exception))
			t.mu.Unlock()
		}
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(t.exceptions) > 0 {
			tb.Errorf("the page threw: %s", strings.Join(t.exceptions, "; "))
		}
	})
	return t
}

func describe(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return o.Description
}

func (t *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	t.tb.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.tb.Fatal(err)
	}
}

// toFront makes the tab the one that can be seen.
func (t *tab) toFront() {
	t.tb.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, page.BringToFront, cdp.Empty{}); err != nil {
		t.tb.Fatal(err)
	}
}

// visit opens a page and waits until it has loaded.
func (t *tab) visit(path string) { t.tb.Helper(); t.do(chromedp.Navigate(t.server.URL + path)) }

// js runs a script in the page, awaits what it returns, and gives it as text.
func (t *tab) js(script string) string {
	t.tb.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, chromedp.Evaluate[string]("(async()=>{"+script+"})().then(String)", chromedp.EvalAwaitPromise))
	if err != nil {
		t.tb.Fatal(err)
	}
	return result
}

// end sends a last event and returns the hits before it: whatever the page was going to send has been sent
// by then, because each is sent in the moment that it is for.
func (t *tab) end() []received {
	t.tb.Helper()
	t.js(`await new Promise(done => dachs("end", {callback: done}))`)
	isEnd := func(g received) bool { return g.payload["n"] == "end" }
	got := t.wait("the last event", func(got []received) bool { return slices.ContainsFunc(got, isEnd) })
	return slices.DeleteFunc(got, isEnd)
}

// expect ends the page and compares the names of what was sent. Hits that are sent in one go travel on several
// connections and may overtake each other, so their order means nothing.
func (t *tab) expect(want ...string) []received {
	t.tb.Helper()
	got := t.end()
	if !sameNames(got, want) {
		t.tb.Errorf("sent %s, want %s", strings.Join(names(got), ", "), strings.Join(want, ", "))
	}
	return got
}

func sameNames(got []received, want []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(names(got))), slices.Sorted(slices.Values(want)))
}

// find returns the one hit of a name.
func find(tb testing.TB, got []received, name string) received {
	tb.Helper()
	i := slices.Index(names(got), name)
	if i < 0 {
		tb.Fatalf("%s was not sent, only %s", name, strings.Join(names(got), ", "))
	}
	return got[i]
}
