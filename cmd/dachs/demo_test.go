package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dachs/storage"
	"dachs/tracker"
)

var demoLines = regexp.MustCompile(`^Report: (http://127\.0\.0\.1:\d+/sites/\S+)\nShop:   (http://127\.0\.0\.1:\d+)/ `)

// startDemo starts `dachs demo` with its temporary store in a directory of the test.
func startDemo(t *testing.T) (report, shop, temp string, stop func() int) {
	t.Helper()
	temp = t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(context.Background())
	var stdout, stderr output
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"demo", "--listen", "127.0.0.1:0"}, strings.NewReader(""), &stdout, &stderr)
	}()
	stop = func() int {
		cancel()
		c := <-code
		code <- c
		return c
	}
	t.Cleanup(func() { stop() })
	for range 3000 {
		if m := demoLines.FindStringSubmatch(stdout.String()); m != nil {
			return m[1], m[2], temp, stop
		}
		select {
		case c := <-code:
			code <- c
			t.Fatalf("the demo ended with %d: %s", c, stderr.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("the demo prints no addresses: %s%s", stdout.String(), stderr.String())
	return "", "", "", nil
}

func TestDemo(t *testing.T) {
	report, shop, temp, stop := startDemo(t)
	base := report[:strings.Index(report, "/sites/")]

	status, page := get(t, report)
	if status != http.StatusOK || !strings.Contains(page, "/tools/hori-hori") {
		t.Errorf("report: status %d, %d bytes", status, len(page))
	}
	if status, _ := get(t, report+"?period=30d"); status != http.StatusOK {
		t.Errorf("report of 30 days: status %d", status)
	}
	tagged := `<script defer src="` + base + `/d.js" data-domain="` + demoDomain + `"></script>`
	goods := demoGoods()
	paths := []string{"/", "/cart", "/cart?item=hori-hori", "/checkout?item=herb-box", "/thanks", "/journal"}
	for _, c := range goods.Categories {
		paths = append(paths, "/"+c.Slug)
		for _, p := range c.Products {
			paths = append(paths, p.Path())
		}
	}
	for _, a := range goods.Articles {
		paths = append(paths, a.Path())
	}
	for _, path := range paths {
		if status, page := get(t, shop+path); status != http.StatusOK || !strings.Contains(page, tagged) || !strings.Contains(page, report) {
			t.Errorf("%s: status %d, tag or link to the report is missing", path, status)
		}
	}
	for _, path := range []string{"/nothing", "/tools/nothing", "/seeds/hori-hori", "/journal/nothing", "/layout.gohtml", "/demo/"} {
		if status, _ := get(t, shop+path); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}

	dirs, err := filepath.Glob(filepath.Join(temp, "dachs-demo-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("temporary stores: %v, %v", dirs, err)
	}
	count := func() string {
		return must(t, "--data", dirs[0], "query", "--site", demoDomain, "--range", "day", "--metrics", "pageviews", "--format", "csv",
			"--filter", "is,event:page,/made/by/a/test")
	}
	before := count()
	post(t, base+"/api/event", `{"n":"pageview","u":"`+shop+`/made/by/a/test","d":"`+demoDomain+`"}`)
	if after := count(); after == before || !strings.Contains(after, "1") {
		t.Errorf("own click: %q before, %q after", before, after)
	}

	if code := stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// post sends an event as a browser does.
func post(t *testing.T, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", agentA)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusAccepted {
		t.Fatalf("status %d: %s", resp.StatusCode, b)
	}
}

func TestDemoStaysOnThisMachine(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:8080", "example.com:80", "8080"} {
		checkFailure(t, commandWith(t, strings.NewReader(""), "demo", "--listen", listen), exitUsage, "--listen")
	}
	for _, listen := range []string{"127.0.0.1:0", "localhost:8080", "[::1]:8080", "127.1.2.3:80"} {
		if err := loopbackOnly(listen); err != nil {
			t.Error(err)
		}
	}
}

func TestShopIsStrict(t *testing.T) {
	s, err := newShop("http://127.0.0.1:8080", demoDomain)
	if err != nil {
		t.Fatal(err)
	}
	policy := s.policy
	if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "connect-src http://127.0.0.1:8080;") {
		t.Errorf("policy: %s", policy)
	}
	for name, text := range map[string]string{"style": " style=", "handler": " onclick="} {
		files, err := demoFiles.ReadDir("demo")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := demoFiles.ReadFile("demo/" + f.Name())
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte(text)) {
				t.Errorf("%s has an inline %s, which the policy forbids", f.Name(), name)
			}
		}
	}
}

// demoEnd is the moment to which the tests make up traffic.
var demoEnd = time.Date(2026, 11, 23, 15, 30, 0, 0, time.UTC)

func demoTraffic(t *testing.T) *traffic {
	t.Helper()
	zone, err := time.LoadLocation(demoZone)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTraffic(nil, zone, demoEnd)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestDemoTrafficIsDeterministicAndInOrder(t *testing.T) {
	one, two := demoTraffic(t), demoTraffic(t)
	for _, index := range []int{0, 50, demoDays - 1} {
		a, b := one.day(index), two.day(index)
		if len(a) != len(b) || len(a) < 200 {
			t.Fatalf("day %d: %d and %d hits", index, len(a), len(b))
		}
		for i := range a {
			if !a[i].at.Equal(b[i].at) || a[i].addr != b[i].addr || a[i].agent != b[i].agent || a[i].hit != b[i].hit {
				t.Fatalf("day %d: hit %d differs:\n%+v\n%+v", index, i, a[i], b[i])
			}
			if i > 0 && a[i].at.Before(a[i-1].at) {
				t.Fatalf("day %d: hit %d is out of order", index, i)
			}
			if a[i].at.Before(one.midnight(index)) || !a[i].at.Before(one.midnight(index+1)) || a[i].at.After(demoEnd) {
				t.Fatalf("day %d: hit at %v", index, a[i].at)
			}
		}
	}
}

func TestDemoTrafficIsBelievable(t *testing.T) {
	db, err := storage.Open(t.TempDir(), storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	site, err := db.AddSite(demoDomain, demoZone)
	if err != nil {
		t.Fatal(err)
	}
	geo, err := tracker.OpenGeo("")
	if err != nil {
		t.Fatal(err)
	}
	days := 0
	if err := fillDemo(t.Context(), db, geo, site, demoEnd, func(day int, _ int64) { days = day }); err != nil {
		t.Fatal(err)
	}
	first, last, _, err := db.Days(site.ID)
	if err != nil {
		t.Fatal(err)
	}
	if days != demoDays || last != storage.DateDay(2026, 11, 23) || last-first != demoDays-1 {
		t.Errorf("%d days, from %v to %v", days, first, last)
	}
	ask := func(m storage.Metric, filters ...storage.Filter) float64 {
		t.Helper()
		res, err := db.Query(t.Context(), storage.Query{Site: site.ID, From: first, To: last, Metrics: []storage.Metric{m}, Filters: filters})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Rows) == 0 {
			return 0
		}
		return res.Rows[0].Values[0].Number
	}
	is := func(c storage.Column, value string) storage.Filter {
		return storage.Filter{Column: c, Op: storage.Is, Values: []string{value}}
	}
	visits, views := ask(storage.VisitsTotal), ask(storage.PageViews)
	products := ask(storage.PageViews, storage.Filter{Column: storage.Path, Op: storage.Contains, Values: []string{"/tools/", "/seeds/", "/pots/"}})
	carts, thanks := ask(storage.PageViews, is(storage.Path, "/cart")), ask(storage.PageViews, is(storage.Path, "/thanks"))
	purchases := ask(storage.Events, is(storage.Name, "Purchase"))
	if !(purchases > 0 && purchases < carts && carts < products && products < views) {
		t.Errorf("purchases %v, carts %v, products %v, views %v", purchases, carts, products, views)
	}
	if purchases < thanks {
		t.Errorf("%v purchases, but %v thanks", purchases, thanks)
	}
	within := func(what string, got, low, high float64) {
		t.Helper()
		if got < low || got > high {
			t.Errorf("%s is %v, want %v to %v", what, got, low, high)
		}
	}
	within("visits a day", visits/demoDays, 150, 450)
	within("purchases by visits, percent", 100*purchases/visits, 1.5, 6)
	within("bounce rate", ask(storage.BounceRate), 30, 60)
	within("views per visit", ask(storage.ViewsPerVisit), 2, 4)
	within("visit duration", ask(storage.VisitDuration), 60, 240)
	within("newsletters", ask(storage.Events, is(storage.Name, "Newsletter")), 50, 1000)
	within("visits by campaign", ask(storage.VisitsTotal, is(storage.UTMMedium, "email")), 500, 4000)
	within("share of Germany", 100*ask(storage.VisitsTotal, is(storage.Country, "DE"))/visits, 40, 60)
	within("time on the page", ask(storage.TimeOnPage, is(storage.Path, "/journal/sowing-calendar")), 30, 200)
	if d := ask(storage.VisitsTotal, is(storage.Device, "")); d != 0 {
		t.Errorf("%v visits without a device", d)
	}
}

func TestDemoVisitorsHaveAddressesForDocumentation(t *testing.T) {
	block := netip.MustParsePrefix("2001:db8::/32")
	for _, h := range demoTraffic(t).day(demoDays / 2) {
		if !block.Contains(h.addr) {
			t.Fatalf("address %v", h.addr)
		}
	}
}

// TestDemoWithoutTemporaryDirectory is the case of an image that holds nothing but the program.
func TestDemoWithoutTemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	checkFailure(t, dachs(t, "demo", "--listen", "127.0.0.1:0"), exitError, "set TMPDIR to a directory that can be written to")
}
