package script

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestBrowser drives the script in Chromium. The subtests share the browser, each has a profile of its own.
func TestBrowser(t *testing.T) {
	browser := startBrowser(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"load", testLoad},
		{"otherOrigin", testOtherOrigin},
		{"navigationAPI", func(t *testing.T, b context.Context) { testNavigation(t, b, "") }},
		{"wrappedHistory", func(t *testing.T, b context.Context) { testNavigation(t, b, withoutNavigationAPI) }},
		{"hashRouting", testHashRouting},
		{"fragmentStaysAtHome", testFragment},
		{"referrerWithinPage", testReferrerWithinPage},
		{"twice", testTwice},
		{"hiddenTab", testHiddenTab},
		{"prerender", testPrerender},
		{"backForwardCache", testBackForwardCache},
		{"queue", testQueue},
		{"eventFields", testEventFields},
		{"taggedClicks", testTaggedClicks},
		{"optOut", testOptOut},
		{"storesNothing", testStoresNothing},
		{"strictPolicy", testStrictPolicy},
		{"blockedStorage", testBlockedStorage},
		{"failures", testFailures},
		{"closing", testClosing},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, browser) })
	}
}

// withoutNavigationAPI makes the page that of an older browser, with a trap: an element of the same name.
const withoutNavigationAPI = `<script>Object.defineProperty(window, "navigation", {value: document.createElement("nav"), configurable: true})</script>`

func testLoad(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")))
	p.pages["/from"] = htmlPage("", "from") + `<a id="link" href="/a?utm_source=x&utm_medium=y">on</a>`
	p.visit("/from")
	p.do(chromedp.Click(chromedp.CSS("#link")))
	p.wait("the page view", func(got []received) bool { return len(got) > 0 }) // the script is there from here on
	got := p.expect("pageview /a?utm_source=x&utm_medium=y")
	want := map[string]any{"n": "pageview", "u": p.server.URL + "/a?utm_source=x&utm_medium=y", "d": "example.com", "r": p.server.URL + "/from"}
	if !reflect.DeepEqual(got[0].payload, want) {
		t.Errorf("payload = %v, want exactly %v", got[0].payload, want)
	}
	if got[0].method != http.MethodPost || got[0].header.Get("Content-Type") != "text/plain;charset=UTF-8" {
		t.Errorf("sent as %s %s, want POST text/plain", got[0].method, got[0].header.Get("Content-Type"))
	}
}

// From another origin the browser must not ask first, and an answer that the page may not read is no failure.
func testOtherOrigin(t *testing.T, browser context.Context) {
	collector := serve(t, "")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, htmlPage(`<script defer src="`+collector.server.URL+`/d.js" data-domain="example.com"></script>`, "site"))
	}))
	t.Cleanup(site.Close)
	p := open(t, browser, collector)
	p.do(chromedp.Navigate(site.URL + "/x"))
	for _, g := range p.expect("pageview /x") {
		if g.method != http.MethodPost {
			t.Errorf("the browser asked first: %s", g.method)
		}
	}
}

func testNavigation(t *testing.T, browser context.Context, head string) {
	p := open(t, browser, serve(t, head+tag("")))
	p.visit("/")
	p.js(`history.replaceState({}, "", "/")                     // as frameworks do when they start
		history.pushState({page: 1}, "", "/a")
		history.pushState({page: 2}, "", "/a?sort=price")       // a filter, the same page
		history.replaceState({page: 3}, "", "/a?sort=name#top")
		history.replaceState({}, "", "/b")
		history.pushState({}, "", "/c")`)
	p.wait("the pages", func(got []received) bool { return len(got) >= 4 })
	p.js(`const popped = new Promise(done => addEventListener("popstate", done)); history.back(); await popped`)
	p.wait("the page gone back to", func(got []received) bool { return len(got) >= 5 })
	if at := p.js(`return location.pathname + " " + JSON.stringify(history.state)`); at != "/b {}" {
		t.Errorf("the page is at %s, want /b {}", at)
	}
	p.expect("pageview /", "pageview /a", "pageview /b", "pageview /c", "pageview /b")
}

func testHashRouting(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag(" data-hash")))
	p.visit("/#/start")
	p.js(`location.hash = "#/list"`)
	p.wait("the list", func(got []received) bool { return len(got) >= 2 })
	p.js(`history.pushState({}, "", "#/list"); history.pushState({}, "", "/?x=1#/list"); history.pushState({}, "", "#/item")`)
	for _, g := range p.expect("pageview /#/start", "pageview /#/list", "pageview /?x=1#/item") {
		if g.payload["h"] != 1.0 {
			t.Errorf("payload %v does not say that the fragment is part of the path", g.payload)
		}
	}
}

// Without data-hash, what stands behind # never leaves the browser: it can be a token or a heading.
func testFragment(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")))
	p.visit("/a#access_token=secret")
	p.js(`location.hash = "#heading"; history.pushState({}, "", "/b#more"); dachs("Seen", {url: "/v"})`)
	got := p.expect("pageview /a", "pageview /b", "Seen /v")
	if text := fmt.Sprint(got); strings.Contains(text, "secret") || strings.Contains(text, "more") {
		t.Errorf("a fragment was sent: %s", text)
	}
}

func testReferrerWithinPage(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")))
	p.do(chromedp.Navigate(p.server.URL + "/a?ref=x"))
	p.js(`history.pushState({}, "", "/b"); dachs("Seen")`)
	got := p.expect("pageview /a?ref=x", "pageview /b", "Seen /b")
	for name, want := range map[string]string{
		"pageview /a?ref=x": "",
		"pageview /b":       p.server.URL + "/a?ref=x",
		"Seen /b":           p.server.URL + "/a?ref=x",
	} {
		if from := find(t, got, name).payload["r"]; from != want {
			t.Errorf("%s came from %v, want %q", name, from, want)
		}
	}
}

func testTwice(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")+tag("")))
	p.visit("/")
	p.js(`history.pushState({}, "", "/a")`)
	p.js(`await new Promise(done => { // as a framework does that swaps the body
		const again = document.createElement("script"); again.src = "/d.js"; again.onload = done; document.body.append(again) })`)
	p.do(chromedp.Click(chromedp.CSS("#buy")))
	p.expect("pageview /", "pageview /a", "Buy /a")
}

// A tab that was opened in the background is counted when it comes to the front, with the address that it has then.
func testHiddenTab(t *testing.T, browser context.Context) {
	r := serve(t, tag(""))
	r.pages["/blank"] = htmlPage("", "blank")
	back := open(t, browser, r)
	back.visit("/a") // counted; from here on another tab lies in front
	back.js(`open("/blank"); while (!document.hidden) await new Promise(done => setTimeout(done, 10))`)
	back.visit("/b")
	back.js(`history.pushState({}, "", "/c"); dachs("Early")
		await fetch("/d.js", {method: "POST", body: '{"n": "marker", "u": "http://x/"}'})`)
	back.toFront()
	got := back.expect("pageview /a", "marker /", "pageview /c", "Early /c")
	if n := names(got); !slices.Equal(n[:2], []string{"pageview /a", "marker /"}) {
		t.Errorf("sent %s: some of it before the tab came to the front", strings.Join(n, ", "))
	}
}

// A page that the browser renders ahead of time is counted when it is shown, and not at all if it never is.
// Chromium prerenders nothing for a tab that it is driven by, so this one drives itself: /list leaves for /a once both
// pages are rendered, and /a tells the server when it is shown.
func testPrerender(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")+`<script>document.addEventListener("prerenderingchange", () => fetch("/shown"))</script>`))
	p.pages["/blank"] = htmlPage("", "blank")
	p.pages["/list"] = htmlPage(tag("")+`<script type="speculationrules">{"prerender":[{"urls":["/a","/b"],"eagerness":"immediate"}]}</script>`+
		`<script>fetch("/rendered").then(() => location.href = "/a")</script>`, "list")
	rendered, shown := make(chan struct{}, 8), make(chan struct{}, 8)
	inner := p.server.Config.Handler
	p.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/rendered":
			for range 2 {
				select {
				case <-rendered:
				case <-req.Context().Done():
				}
			}
		case req.URL.Path == "/shown":
			shown <- struct{}{}
		case req.URL.Path == "/d.js" && strings.Contains(req.Header.Get("Sec-Purpose"), "prerender"):
			inner.ServeHTTP(w, req)
			rendered <- struct{}{}
		default:
			inner.ServeHTTP(w, req)
		}
	})
	p.visit("/blank")
	p.js(`open("/list", "_blank", "noopener")`)
	select {
	case <-shown:
	case <-time.After(patience):
		t.Fatal("the browser showed no prerendered page: nothing is tested")
	}
	got := p.wait("the page", func(got []received) bool { return len(got) >= 2 })
	if want := []string{"pageview /list", "pageview /a"}; !slices.Equal(names(got), want) {
		t.Errorf("sent %s, want %s", strings.Join(names(got), ", "), strings.Join(want, ", "))
	}
}

func testBackForwardCache(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")))
	p.visit("/a")
	p.js(`window.kept = true`)
	p.visit("/b")
	p.js(`history.back()`)
	p.wait("the page gone back to", func(got []received) bool { return len(got) >= 3 })
	if kept := p.js(`return window.kept`); kept != "true" {
		t.Fatalf("the page was not kept for the back button (%s): nothing is tested", kept)
	}
	p.expect("pageview /a", "pageview /b", "pageview /a")
}
