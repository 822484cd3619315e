package tracker

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// metrics reads all numbers by their names with labels.
func (c *counting) metrics() map[string]float64 {
	c.t.Helper()
	resp, text := c.do("GET", "/metrics", "")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		c.t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	line := regexp.MustCompile(`^([a-z_]+)(\{[a-z]+="[^"]*"\})? ([0-9.]+)$`)
	all, kinds := make(map[string]float64), make(map[string]bool)
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if rest, ok := strings.CutPrefix(l, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if kinds[name] || strings.HasSuffix(name, "_total") != (kind == "counter") {
				c.t.Errorf("%q", l)
			}
			kinds[name] = true
			continue
		}
		if strings.HasPrefix(l, "# HELP ") {
			continue
		}
		m := line.FindStringSubmatch(l)
		if m == nil {
			c.t.Errorf("no line of the format: %q", l)
			continue
		}
		base := m[1]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if kinds[strings.TrimSuffix(base, suffix)] {
				base = strings.TrimSuffix(base, suffix)
			}
		}
		if _, twice := all[m[1]+m[2]]; twice || !kinds[base] {
			c.t.Errorf("%s has no type, or is there twice", m[1]+m[2])
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			c.t.Error(err)
		}
		all[m[1]+m[2]] = v
	}
	return all
}

func TestMetrics(t *testing.T) {
	c := newCounting(t)
	before := c.metrics()
	if _, err := c.db.AddSite("example.org", "UTC"); err != nil {
		t.Fatal(err)
	}
	c.hit(`{"n":"pageview","u":"https://example.com/a","d":"example.com,example.org"}`)
	c.hit(`{"n":"pageview","u":"https://example.com/a","d":"example.com"}`, "X-Forwarded-For: 192.0.2.2")
	c.hit(`{"n":"pageview","u":"https://example.com/a","d":"example.com"}`, "User-Agent: Googlebot/2.1")
	after := c.metrics()
	for name, want := range map[string]float64{
		"dachs_hits_accepted_total": 3, `dachs_hits_refused_total{reason="bot"}`: 1, "dachs_visitors_in_memory": 3, "dachs_sites_in_memory": 2,
		"dachs_commits_total": 3, "dachs_commits_failed_total": 0, "dachs_commit_seconds_count": 3, `dachs_commit_seconds_bucket{le="+Inf"}`: 3,
		"dachs_queue_rows": 0, "dachs_store_failing": 0, "dachs_store_damaged": 0,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s rose by %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"dachs_rows_stored_total", "dachs_visitors_memory_bytes", "dachs_heap_bytes", "dachs_go_memory_bytes",
		"dachs_goroutines", "dachs_queue_rows_max", "dachs_disk_needed_bytes", "dachs_commit_seconds_sum"} {
		if after[name] <= 0 {
			t.Errorf("%s is %v", name, after[name])
		}
	}
	last := 0.0
	for _, le := range []string{"0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "10", "+Inf"} {
		n, ok := after[`dachs_commit_seconds_bucket{le="`+le+`"}`]
		if !ok || n < last {
			t.Errorf("bucket up to %s has %v, the one before %v", le, n, last)
		}
		last = n
	}
	if _, text := c.do("GET", "/metrics", ""); strings.Contains(text, "example") || strings.Contains(text, "192.0.2") {
		t.Errorf("metrics name a site or a visitor:\n%s", text)
	}
}
