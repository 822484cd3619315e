package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestImportFollowsTheRules of the site, and tells its owner of each refusal as if it had been live.
func TestImportFollowsTheRules(t *testing.T) {
	data := newData(t, "example.com", "Europe/Berlin")
	must(t, "site", "set", "example.com", "--data", data, "--allow-host", "example.com", "--allow-host", "example.net",
		"--exclude-path", "/admin/**", "--exclude-network", "198.51.100.0/24", "--exclude-agent", "seamonkey", "--exclude-country", "US", "--headless=on")
	const browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	var log strings.Builder
	line := func(host, addr, path, referrer, agent string) {
		fmt.Fprintf(&log, "%s:443 %s - - [02/Mar/2026:12:00:00 +0000] \"GET %s HTTP/1.1\" 200 512 \"%s\" \"%s\"\n", host, addr, path, referrer, agent)
	}
	line("example.com", "203.0.113.1", "/", "-", browser)
	line("example.net", "203.0.113.1", "/a", "-", browser) // counts: a log has no headers that could be missing
	line("example.org", "203.0.113.1", "/", "-", browser)
	line("example.com", "203.0.113.1", "/admin/x/y", "-", browser)
	line("example.com", "203.0.113.1", "/admin/z", "-", browser)
	line("example.com", "198.51.100.9", "/", "-", browser)
	line("example.com", "8.8.8.8", "/", "-", browser)
	line("example.com", "203.0.113.1", "/", "-", browser+" SeaMonkey/2.5")
	line("example.com", "203.0.113.1", "/", "http://x.semalt.com/", browser)
	line("example.com", "203.0.113.1", "/", "-", "curl/8")
	line("example.com", "203.0.113.1", "/style.css", "-", browser) // no page: nothing to tell
	report := mustWith(t, strings.NewReader(log.String()), "import", "log", "-", "--site", "example.com", "--data", data)
	for _, want := range []string{"2  page views counted", "9  lines refused", "2  - path (a page", "1  - host", "1  - network", "1  - country", "1  - agent", "1  - spam", "1  - bot", "1  - asset"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	refusals := must(t, "site", "refusals", "example.com", "--days", "1000", "--data", data)
	var got []string
	for _, l := range strings.Split(strings.TrimSpace(refusals), "\n")[1:] {
		got = append(got, strings.Join(strings.Fields(l)[:3], " "))
	}
	want := "2026-03-02 path 2, 2026-03-02 agent 1, 2026-03-02 bot 1, 2026-03-02 country 1, 2026-03-02 host 1, 2026-03-02 network 1, 2026-03-02 spam 1"
	if strings.Join(got, ", ") != want {
		t.Errorf("refusals are %q, want %q", got, want)
	}
	if views := must(t, "query", "--site", "example.com", "--metrics", "pageviews,events", "--range", "2026-03-02", "--data", data); !strings.Contains(views, "2          2") {
		t.Errorf("the store has:\n%s", views)
	}
}
