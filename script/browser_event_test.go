package script

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func testQueue(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, stub+`<script>window.early = dachs; dachs("One"); dachs("Two", {props: {a: 1}})</script>`+tag("")))
	p.visit("/a")
	p.js(`early("Three")`) // through a reference that was taken before
	got := p.expect("pageview /a", "One /a", "Two /a", "Three /a")
	if props := find(t, got, "Two /a").payload["p"]; !reflect.DeepEqual(props, map[string]any{"a": 1.0}) {
		t.Errorf("the event that waited has properties %v", props)
	}
}

func testEventFields(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")))
	p.visit("/a")
	for i, options := range []string{"", ", undefined", ", null"} {
		p.js(`dachs("Buy"` + options + `)`)
		p.wait("an event without options", func(got []received) bool { return len(got) == i+2 })
	}
	p.js(`for (const options of [
			{props: {plan: "pro", seats: 5, trial: true}},
			{revenue: {amount: "19.90", currency: "EUR"}},
			{interactive: false},
			{url: "/virtual?x=1"},
			{url: "https://app.example.com/deep"},
			{url: "https://"},                                      // no address: nothing is sent, nothing thrown
			{props: (() => { const c = {}; c.c = c; return c })()}, // cannot be written as JSON: likewise
		]) await new Promise(done => dachs("Buy", {...options, callback: done}))`)
	u := p.server.URL
	base := func(changes map[string]any) map[string]any {
		m := map[string]any{"n": "Buy", "u": u + "/a", "d": "example.com", "r": ""}
		for k, v := range changes {
			m[k] = v
		}
		return m
	}
	want := []map[string]any{
		{"n": "pageview", "u": u + "/a", "d": "example.com", "r": ""},
		base(nil), base(nil), base(nil),
		base(map[string]any{"p": map[string]any{"plan": "pro", "seats": 5.0, "trial": true}}),
		base(map[string]any{"$": map[string]any{"amount": "19.90", "currency": "EUR"}}),
		base(map[string]any{"i": false}),
		base(map[string]any{"u": u + "/virtual?x=1"}),
		base(map[string]any{"u": "https://app.example.com/deep"}),
	}
	got := p.end()
	if len(got) != len(want) {
		t.Fatalf("sent %d hits, want %d: %s", len(got), len(want), strings.Join(names(got), ", "))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i].payload, want[i]) {
			t.Errorf("hit %d = %v, want exactly %v", i, got[i].payload, want[i])
		}
	}
}

func testTaggedClicks(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")))
	p.visit("/a")
	p.do(chromedp.Click(chromedp.CSS("#plain")), chromedp.Click(chromedp.CSS("#buy")), chromedp.Click(chromedp.CSS("#inner")))
	p.js(`document.body.insertAdjacentHTML("beforeend", '<p><button id="late" data-dachs-event="Late">late</button></p>')
		document.querySelector("p").addEventListener("click", event => event.stopPropagation())`)
	p.do(chromedp.Click(chromedp.CSS("#late")))
	p.js(`document.dispatchEvent(new Event("click")); dispatchEvent(new Event("click"))`) // of no element
	p.expect("pageview /a", "Buy /a", "Buy /a", "Late /a")
}

// Who has opted out sends nothing, from that moment on; the page's own callbacks still run.
func testOptOut(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")))
	p.pages["/blank"] = htmlPage("", "blank")
	p.visit("/blank")
	p.js(`localStorage.dachs = "off"`)
	p.visit("/a")
	p.js(`history.pushState({}, "", "/b"); await new Promise(done => dachs("Buy", {callback: done}))`)
	p.do(chromedp.Click(chromedp.CSS("#buy")))
	p.js(`localStorage.dachs = "on"; history.pushState({}, "", "/c"); await new Promise(done => dachs("Buy", {callback: done}))
		localStorage.dachs = "off"; await new Promise(done => dachs("Gone", {callback: done}))
		localStorage.removeItem("dachs")`)
	p.expect("pageview /c", "Buy /c")
}

// Nothing is kept on the device, not even what the server tries to set, and no cookie is sent along.
func testStoresNothing(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")))
	p.pages["/blank"] = htmlPage("", "blank")
	p.visit("/blank")
	p.js(`document.cookie = "login=secret; path=/"`)
	p.visit("/a")
	p.js(`await new Promise(done => dachs("Buy", {callback: done}))`)
	for _, g := range p.expect("pageview /a", "Buy /a") {
		if c := g.header.Get("Cookie"); c != "" {
			t.Errorf("cookie sent along: %s", c)
		}
	}
	kept := p.js(`return JSON.stringify({
		cookie: document.cookie, local: Object.keys(localStorage), session: Object.keys(sessionStorage), name: window.name, state: history.state,
		databases: (await indexedDB.databases()).length, caches: (await caches.keys()).length, workers: (await navigator.serviceWorker.getRegistrations()).length})`)
	if want := `{"cookie":"login=secret","local":[],"session":[],"name":"","state":null,"databases":0,"caches":0,"workers":0}`; kept != want {
		t.Errorf("on the device: %s, want %s", kept, want)
	}
}

func testStrictPolicy(t *testing.T, browser context.Context) {
	r := serve(t, tag(""))
	r.policy = "default-src 'none'; img-src data:; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'; report-uri /violation"
	violations := make(chan string, 8)
	inner := r.server.Config.Handler
	r.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/violation" {
			violations <- req.Header.Get("Referer")
		}
		inner.ServeHTTP(w, req)
	})
	p := open(t, browser, r)
	p.visit("/a")
	p.do(chromedp.Click(chromedp.CSS("#buy")))
	p.expect("pageview /a", "Buy /a")
	select {
	case v := <-violations:
		t.Errorf("the policy was violated on %s", v)
	default:
	}
}

// In a sandboxed frame, and in some private modes, even to look at localStorage throws. That is no opt-out.
func testBlockedStorage(t *testing.T, browser context.Context) {
	p := open(t, browser, serve(t, tag("")))
	p.pages["/frame"] = htmlPage("", "frame") + `<iframe sandbox="allow-scripts" src="/a"></iframe>`
	p.visit("/frame")
	got := p.wait("the page in the frame", func(got []received) bool { return len(got) >= 1 })
	if !sameNames(got, []string{"pageview /a"}) {
		t.Errorf("sent %s, want pageview /a", names(got))
	}
}

// Whatever becomes of a hit, the page does not notice; open fails the test if it throws.
func testFailures(t *testing.T, browser context.Context) {
	pages := []string{"pageview /a", "pageview /b", "end /b"}
	for _, c := range []struct {
		name   string
		policy string
		answer http.HandlerFunc
		want   []string
	}{
		{"serverError", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, pages},
		{"connectionCut", "", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, pages},
		{"blockedByPolicy", "connect-src 'none'", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, tag(""))
			r.policy, r.answer = c.policy, c.answer
			p := open(t, browser, r)
			p.visit("/a")
			p.js(`history.pushState({}, "", "/b"); await new Promise(done => dachs("end", {callback: done}))`)
			p.wait("what was sent", func(got []received) bool { return sameNames(got, c.want) })
		})
	}
}

// An event right before the tab is closed arrives all the same, even if the browser had no connection free to send
// it while the page lived: six that hang are all that it opens to one server for requests of a kind.
func testClosing(t *testing.T, browser context.Context) {
	profile := open(t, browser, serve(t, tag("")))
	p := newTab(t, profile.ctx, profile.receiver)
	hanging := make(chan struct{}, 8)
	inner := p.server.Config.Handler
	p.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/hang" {
			hanging <- struct{}{}
			<-req.Context().Done()
			return
		}
		inner.ServeHTTP(w, req)
	})
	p.visit("/a")
	p.wait("the page view", func(got []received) bool { return len(got) == 1 })
	p.js(`for (let i = 0; i < 6; i++) fetch("/hang?" + i, {credentials: "omit"}).catch(() => {})`)
	for range 6 {
		select {
		case <-hanging:
		case <-time.After(patience):
			t.Fatal("the browser opened fewer than six connections: nothing is tested")
		}
	}
	p.do(chromedp.Click(chromedp.CSS("#buy")))
	if err := chromedp.Cancel(p.ctx); err != nil {
		t.Fatal(err)
	}
	p.wait("the event", func(got []received) bool { return sameNames(got, []string{"pageview /a", "Buy /a"}) })
}
