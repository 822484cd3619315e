package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"dachs/dashboard"
	"dachs/tracker"
)

// TestSiteSet changes settings beside a running server, which counts by them at once, and reads them after its end.
func TestSiteSet(t *testing.T) {
	centres := filepath.Join(t.TempDir(), "centres.txt")
	writeFile(t, centres, "# some\n198.51.100.0/24\n")
	data := filepath.Join(t.TempDir(), "data")
	s := startDachs(t, data, "--trusted-proxies", "127.0.0.1", "--data-centres", centres, "--rate-limit", "1")
	must(t, "site", "add", "example.com", "--data", data)
	set := func(args ...string) result {
		return dachs(t, append([]string{"site", "set", "example.com", "--data", data}, args...)...)
	}
	has := func(r result, want ...string) {
		t.Helper()
		if r.code != exitOK {
			t.Fatalf("exit code %d: %s", r.code, r.stderr)
		}
		plain := strings.Join(strings.Fields(r.stdout), " ")
		for _, w := range want {
			if !strings.Contains(plain, w) {
				t.Errorf("output lacks %q:\n%s", w, r.stdout)
			}
		}
	}
	has(set(), "allowed hosts all", "excluded paths none", "refuse headless off")
	has(set("--allow-host", "WWW.example.com", "--allow-host", "*.example.com", "--exclude-path", "/a,b/**", "--exclude-country", "de,fr",
		"--exclude-network", "192.0.2.7/24", "--exclude-agent", "My, Monitor", "--keep-query", "page", "--headless=on", "--fragment=on"),
		"allowed hosts example.com, *.example.com", "excluded paths /a,b/**", "excluded countries DE, FR", "excluded networks 192.0.2.0/24",
		"excluded user agents my, monitor", "query kept page", "refuse headless on", "refuse data centres off", "fragment is a route on", "cities off")
	has(set("--clear", "exclude-country", "--exclude-country", "CH", "--clear", "keep-query", "--headless=off", "--data-centres=on", "--city=on"),
		"excluded countries CH", "query kept none", "refuse headless off", "refuse data centres on", "cities on", "excluded networks 192.0.2.0/24")
	for want, args := range map[string][]string{
		`network "300.0.0.1": want an address or a network`: {"--exclude-network", "300.0.0.1"},
		`country "QQ": unknown`:                             {"--exclude-country", "QQ"},
		"leaves out every page; add --yes":                  {"--exclude-path", "/**"},
		"leave out example.com itself; add --yes":           {"--clear", "allow-host", "--allow-host", "shop.example.com"},
		"leaves out every browser; add --yes":               {"--exclude-agent", "mozilla"},
		"begin with / or *":                                 {"--exclude-path", "admin"},
		`clear "countries": there is no such list`:          {"--clear", "countries"},
		"--headless must be one of":                         {"--headless=maybe"},
	} {
		checkFailure(t, set(args...), exitUsage, want)
	}
	checkFailure(t, dachs(t, "site", "show", "nowhere.example", "--data", data), exitError, "there is no site nowhere.example")
	checkFailure(t, dachs(t, "site", "refusals", "example.com", "--days", "0", "--data", data), exitUsage, "want 1 to")
	has(dachs(t, "site", "refusals", "example.com", "--data", data), "no hit was refused")

	send := func(addr, path string, header ...string) {
		t.Helper()
		body, err := json.Marshal(map[string]string{"n": "pageview", "u": "https://example.com" + path, "d": "example.com"})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodPost, s.url+"/api/event", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
		req.Header.Set("X-Forwarded-For", addr)
		for _, h := range header {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			t.Errorf("answer %d", resp.StatusCode)
		}
	}
	send("192.0.2.1", "/")
	send("198.51.100.1", "/")
	send("203.0.113.1", "/a,b/c")
	send("203.0.113.1", "/", "Sec-GPC: 1")
	for range 30 { // more than the six of the start and one for each second that this takes
		send("203.0.113.2", "/")
	}
	has(set("--exclude-path", "/**", "--yes"), "excluded paths /a,b/**, /**")
	send("203.0.113.1", "/")
	s.stop()
	has(dachs(t, "site", "show", "example.com", "--data", data), "excluded countries CH", "excluded paths /a,b/**, /**")
	has(dachs(t, "site", "refusals", "example.com", "--data", data), "path 2 Pages that you excluded", "network 1 Networks", "data_centre 1 Data centres",
		"rate_limited", "Too many", "gpc 1 Visitors")
}

func TestDataCentresFileIsChecked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centres.txt")
	writeFile(t, file, "192.0.2.0/24\noops\n")
	data := filepath.Join(t.TempDir(), "data")
	checkFailure(t, dachs(t, "serve", "--data", data, "--listen", "127.0.0.1:0", "--data-centres", file), exitError, "line 2: network \"oops\": want")
	checkFailure(t, dachs(t, "serve", "--data", data, "--listen", "127.0.0.1:0", "--rate-limit=-1"), exitUsage, "--rate-limit -1: want")
}

// Every reason that can be on disk is shown in words.
func TestReasonsHaveWords(t *testing.T) {
	for _, r := range tracker.Reasons()[1:] {
		switch r {
		case tracker.UnknownSite, tracker.Asset, tracker.Method, tracker.Status, tracker.OutOfOrder, tracker.NoHit:
			continue // of no site, or in the report of an import only
		}
		if text := dashboard.RefusalText(r.String()); text == r.String() {
			t.Errorf("%s has no words", r)
		}
	}
}
