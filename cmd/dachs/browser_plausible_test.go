package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// plausibleTracker is Plausible's own script, which its licence (MIT) lets us install for a test. It never gets into the program.
const plausibleTracker = "@plausible-analytics/tracker@0.4.6"

// installPlausible puts Plausible's script into a directory of the test and returns the path of its file.
func installPlausible(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("no npm on this machine: it is needed to install Plausible's script")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", plausibleTracker)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install %s: %v\n%s", plausibleTracker, err, out)
	}
	return filepath.Join(dir, "node_modules", "@plausible-analytics", "tracker", "plausible.js")
}

// plausiblePage is a page as one looks that uses Plausible's script. It knows nothing of Dachs but the address, which a site that
// moves gives to the old one's host.
const plausiblePage = `<!doctype html><title>Shop</title><script type="module">
import {init, track} from '/plausible.js'
init({domain: 'shop.example', endpoint: '%s/api/event', captureOnLocalhost: true, outboundLinks: true, fileDownloads: true, formSubmissions: true,
	customProperties: {plan: 'pro'}})
document.querySelector('#buy').onclick = () => track('Buy', {props: {item: 'hoe'}, revenue: {amount: '12.50', currency: 'EUR'}, interactive: false,
	callback: r => document.querySelector('#answer').textContent = r.status})
</script><body><p id="answer"></p><button id="buy">Buy</button><button id="next" onclick="history.pushState({}, '', '/two')">Next</button>
<a id="file" href="/prices.pdf" download>Prices</a><a id="out" href="%s/there?q=1">Elsewhere</a><form id="form" action="/sent"><button>Send</button></form>`

// TestPlausiblesScript counts what Plausible's own script sends from a real browser.
func TestPlausiblesScript(t *testing.T) {
	browser, script := startBrowser(t), installPlausible(t)
	data := t.TempDir()
	p := startProcess(t, data)
	must(t, "site", "add", "shop.example", "--data", data)
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	pages := http.NewServeMux()
	pages.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, plausiblePage, p.url, elsewhere.URL) })
	pages.HandleFunc("GET /plausible.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, script) })
	sent := make(chan bool, 1)
	pages.HandleFunc("GET /sent", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<!doctype html><title>Sent</title>Thanks")
		sent <- true
	})
	pages.HandleFunc("GET /prices.pdf", http.NotFound)
	shop := httptest.NewServer(pages)
	t.Cleanup(shop.Close)

	tab := openTab(t, browser)
	const userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
	if _, err := chromedp.Call(tab, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: userAgent}); err != nil {
		t.Fatal(err)
	}
	counted := func(dimensions string, want ...string) {
		t.Helper()
		waitForRows(t, data, dimensions, want)
	}
	do(t, tab, chromedp.Navigate(shop.URL+"/one?utm_source=newsletter&utm_campaign=May&secret=1"))
	counted("event:name", "pageview 1")
	do(t, tab, chromedp.Click(chromedp.CSS("#buy")))
	counted("event:name", "Buy 1", "pageview 1")
	if _, err := chromedp.Run(tab, chromedp.Poll[bool](`document.querySelector("#answer").textContent == "202"`, chromedp.WithPollingTimeout(patience))); err != nil {
		t.Errorf("the page's callback was not told 202: %v", err)
	}
	do(t, tab, chromedp.Click(chromedp.CSS("#next")), chromedp.Click(chromedp.CSS("#file")))
	counted("event:name", "pageview 2", "Buy 1", "File Download 1")
	do(t, tab, chromedp.Click(chromedp.CSS("#form button")))
	counted("event:name", "pageview 2", "Buy 1", "File Download 1", "Form: Submission 1")
	select { // the script sends the form itself once the event is counted
	case <-sent:
	case <-time.After(patience):
		t.Fatal("the form was not sent")
	}
	do(t, tab, chromedp.Navigate(shop.URL+"/three"), chromedp.Click(chromedp.CSS("#out")))
	counted("event:name", "pageview 3", "Buy 1", "File Download 1", "Form: Submission 1", "Outbound Link: Click 1")

	counted("event:page", "/two 3", "/one 2", "/three 2")
	counted("visit:utm_campaign", "May 7")
	counted("event:props:item", "(none) 6", "hoe 1")
	counted("event:props:url", "(none) 5", "http://127.0.0.1/prices.pdf 1", "http://127.0.0.1/there 1")
}

// waitForRows waits until `dachs query` shows the events that are wanted by a dimension.
func waitForRows(t *testing.T, data, dimension string, want []string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		out := must(t, "query", "--data", data, "--site", "shop.example", "--range", "day", "--format", "csv", "--metrics", "events", "--dimensions", dimension)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		got = got[:0]
		for _, r := range rows[1:] {
			got = append(got, strings.Join(r, " "))
		}
		if cmp.Equal(want, got) {
			return
		}
	}
	t.Fatalf("events by %s: (-want +got)\n%s", dimension, cmp.Diff(want, got))
}
