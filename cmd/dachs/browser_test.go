package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// patience bounds what a test waits for in the browser; it is spent only where the test fails.
const patience = 30 * time.Second

// startBrowser starts a headless Chromium. Each tab that is opened in it ends with the test.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	name := ""
	for _, n := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(n); err == nil {
			name = found
			break
		}
	}
	if name == "" {
		t.Skip("no Chromium on this machine: `make deps` installs it")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(name), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return ctx
}

// person is somebody who looks at the shop: a tab of their own, and the way to the server from where they are.
type person struct {
	ctx  context.Context
	shop string // address of the shop
}

// newPerson makes a person with an address and a user agent. Between them and the server stands a reverse proxy, as
// in front of most servers, that tells the address in X-Forwarded-For.
func newPerson(t *testing.T, browser context.Context, server, addr, userAgent string) person {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set("X-Forwarded-For", "203.0.113.1, "+addr) // the first entry is what anybody can forge
	}})
	t.Cleanup(proxy.Close)
	pages, err := newShop(proxy.URL, "shop.example")
	if err != nil {
		t.Fatal(err)
	}
	shop := httptest.NewServer(pages)
	t.Cleanup(shop.Close)
	ctx := openTab(t, browser)
	if _, err := chromedp.Call(ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: userAgent}); err != nil {
		t.Fatal(err)
	}
	return person{ctx, shop.URL}
}

// openTab opens a tab that shares nothing with the others.
func openTab(t *testing.T, browser context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 4*patience)
	t.Cleanup(cancel)
	do(t, ctx) // makes the tab
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// follow clicks on a link and waits for the page that it leads to.
func follow(selector chromedp.CSS, path string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(chromedp.Click(selector), chromedp.WaitVisible(chromedp.CSS("body")), arrived(path))
}

// arrived waits until the page of a path has loaded.
func arrived(path string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Poll[bool](fmt.Sprintf("location.pathname == %q && document.readyState == 'complete'", path),
			chromedp.WithPollingTimeout(patience))(ctx, target)
		return chromedp.Void{}, err
	}
}

// read evaluates an expression on the page.
func read[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// waitForHits waits until the server has counted n hits.
func waitForHits(t *testing.T, url string, n int) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^dachs_hits_accepted_total (\d+)$`)
	got := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		_, metrics := get(t, url+"/metrics")
		if m := line.FindStringSubmatch(metrics); m != nil {
			if got = m[1]; got == fmt.Sprint(n) {
				return
			}
		}
	}
	_, metrics := get(t, url+"/metrics")
	t.Fatalf("the server has counted %s hits, want %d:\n%s", got, n, metrics)
}

// TestFromTheTagToTheDashboard goes the whole way with the built program and a real browser: the owner follows
// the set-up link and names the site, three people walk through the shop's pages, and the owner reads exactly
// their numbers in the report and with `dachs query`.
func TestFromTheTagToTheDashboard(t *testing.T) {
	browser := startBrowser(t)
	data := t.TempDir()
	p := startProcess(t, data, "--trusted-proxies", "127.0.0.1")
	owner := setUp(t, browser, p, "shop.example")
	must(t, "site", "add", "other.example", "--data", data) // a site that has to stay empty

	const (
		windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
		mac     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:143.0) Gecko/20100101 Firefox/143.0"
		phone   = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
	)
	buyer := newPerson(t, browser, p.url, "85.214.132.117", windows)
	do(t, buyer.ctx, chromedp.Navigate(buyer.shop+"/?utm_source=newsletter&utm_medium=email&utm_campaign=spring"),
		follow(`.hero a[href="/tools"]`, "/tools"),
		follow(`a[href="/tools/hori-hori"]`, "/tools/hori-hori"),
		follow(`a[data-event="Add to cart"]`, "/cart"))
	waitForHits(t, p.url, 5)
	reader := newPerson(t, browser, p.url, "81.2.69.142", mac)
	do(t, reader.ctx, chromedp.Navigate(reader.shop+"/journal"), follow(`main a[href="/journal/sharpen-secateurs"]`, "/journal/sharpen-secateurs"))
	waitForHits(t, p.url, 7)
	passer := newPerson(t, browser, p.url, "2a01:e0a:1::1", phone)
	do(t, passer.ctx, chromedp.Navigate(passer.shop+"/"))
	waitForHits(t, p.url, 8)

	checkQuery(t, data)
	checkPage(t, owner, p.url)
}

// setUp does what the owner does at first: follows the link that the server has printed.
func setUp(t *testing.T, browser context.Context, p *process, domain string) context.Context {
	t.Helper()
	link := regexp.MustCompile(`http://\S+/setup/\S+`).FindString(p.stdout.String())
	if link == "" {
		t.Fatalf("no set-up link in %s", p.stdout)
	}
	owner := openTab(t, browser)
	do(t, owner, chromedp.Navigate(link),
		chromedp.SendKeys(chromedp.CSS(`[name=password]`), "correct horse battery"),
		chromedp.SendKeys(chromedp.CSS(`[name=again]`), "correct horse battery"),
		chromedp.SendKeys(chromedp.CSS(`[name=domain]`), domain),
		chromedp.SetValue(chromedp.CSS(`[name=timezone]`), "Europe/Berlin"),
		chromedp.Submit(chromedp.CSS(`main form`)), chromedp.WaitVisible(chromedp.CSS(`#tag`)))
	tag := read[string](t, owner, `document.querySelector('#tag').textContent`)
	if want := fmt.Sprintf(`<script defer src="%s/d.js" data-domain="%s"></script>`, p.url, domain); strings.TrimSpace(tag) != want {
		t.Errorf("the tag to paste is %s, want %s", tag, want)
	}
	return owner
}

// checkQuery reads the numbers with `dachs query`.
func checkQuery(t *testing.T, data string) {
	t.Helper()
	f := func(dimensions, metrics string, want ...string) {
		t.Helper()
		args := []string{"query", "--data", data, "--site", "shop.example", "--range", "day", "--format", "csv", "--metrics", metrics}
		if dimensions != "" {
			args = append(args, "--dimensions", dimensions)
		}
		rows, err := csv.NewReader(strings.NewReader(must(t, args...))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rows[1:] {
			got = append(got, strings.Join(r, " "))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("query of %s by %q: (-want +got)\n%s", metrics, dimensions, diff)
		}
	}
	f("", "visitors,visits,pageviews,views_per_visit,bounce_rate,events", "3 3 7 2.33 33 8")
	f("event:page", "visitors,pageviews", "/ 2 2", "/cart 1 1", "/journal 1 1", "/journal/sharpen-secateurs 1 1", "/tools 1 1", "/tools/hori-hori 1 1")
	f("visit:entry_page", "visits", "/ 2", "/journal 1")
	f("visit:exit_page", "visits", "/ 1", "/cart 1", "/journal/sharpen-secateurs 1")
	f("visit:browser", "visitors", "Chrome 1", "Firefox 1", "Safari 1")
	f("visit:os", "visitors", "Windows 1", "iOS 1", "macOS 1")
	f("visit:device", "visitors", "Desktop 2", "Mobile 1")
	f("visit:country", "visitors", "DE 1", "FR 1", "GB 1")
	f("visit:channel", "visitors", "Direct 2", "Email 1")
	f("visit:utm_campaign", "visitors", "(not set) 2", "spring 1")
	f("event:name", "events,visitors", "pageview 7 3", "Add to cart 1 1")
}

// checkPage reads the numbers on the dashboard's page.
func checkPage(t *testing.T, owner context.Context, url string) {
	t.Helper()
	const readTiles = `Object.fromEntries([...document.querySelectorAll('[data-metric]')].map(e => [e.dataset.metric, e.textContent.trim()]))`
	const readPanels = `Object.fromEntries([...document.querySelectorAll('.panel')].map(p => [p.id,
		[...p.querySelectorAll('tbody tr')].map(r => r.querySelector('bdi').textContent + ' ' + r.querySelector('td').textContent.trim())]))`
	do(t, owner, chromedp.Navigate(url+"/sites/shop.example?period=day"))
	tiles, panels := read[map[string]string](t, owner, readTiles), read[map[string][]string](t, owner, readPanels)
	delete(tiles, "visit_duration") // depends on how fast the browser is
	if diff := cmp.Diff(map[string]string{"visitors": "3", "visits": "3", "pageviews": "7", "views_per_visit": "2.33", "bounce_rate": "33%"}, tiles); diff != "" {
		t.Errorf("tiles: (-want +got)\n%s", diff)
	}
	want := map[string][]string{
		"pages":     {"/ 2", "/cart 1", "/journal 1", "/journal/sharpen-secateurs 1", "/tools 1", "/tools/hori-hori 1"},
		"entries":   {"/ 2", "/journal 1"},
		"exits":     {"/ 1", "/cart 1", "/journal/sharpen-secateurs 1"},
		"channels":  {"Direct 2", "Email 1"},
		"campaigns": {"spring 1"},
		"countries": {"Germany 1", "France 1", "United Kingdom 1"},
		"browsers":  {"Chrome 1", "Firefox 1", "Safari 1"},
		"systems":   {"Windows 1", "iOS 1", "macOS 1"},
		"devices":   {"Desktop 2", "Mobile 1"},
	}
	delete(panels, "sources")
	if diff := cmp.Diff(want, panels); diff != "" {
		t.Errorf("panels: (-want +got)\n%s", diff)
	}
	// A click on a row narrows the report to it.
	do(t, owner, chromedp.Click(chromedp.CSS(`#browsers tbody tr:first-child a`)),
		chromedp.WaitVisible(chromedp.CSS(`.chip`)))
	tiles = read[map[string]string](t, owner, readTiles)
	if tiles["visitors"] != "1" || tiles["pageviews"] != "4" {
		t.Errorf("the report of Chrome shows %v", tiles)
	}
	do(t, owner, chromedp.Navigate(url+"/sites/other.example"))
	other := read[string](t, owner, `document.querySelector('main').textContent`)
	if !strings.Contains(other, "Waiting for the first visit") {
		t.Errorf("the report of the other site shows %s", other)
	}
}
