package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"dachs/storage"
	"dachs/tracker"
	"dachs/tracker/accesslog"

	"github.com/google/go-cmp/cmp"
)

// realLog is described in the README beside it. It is not part of this repository.
const realLog = "../../../shared/data/access.log"

// dayCount is what the dashboard shows of a day.
type dayCount struct{ PageViews, Visits, Visitors int }

// naive counts hits the obvious way. It shares no code with the tracker.
type naive struct {
	zone     *time.Location
	byDay    map[string]dayCount
	visitors map[string]*naiveVisit
}

type naiveVisit struct{ first, last time.Time }

func newNaive(t *testing.T, zone string) *naive {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return &naive{loc, map[string]dayCount{}, map[string]*naiveVisit{}}
}

// add counts a page view: a visitor is an address (IPv6: its /64) and a user agent on a local day; a visit ends
// when nothing of it is within 30 minutes.
func (n *naive) add(addr, agent string, at time.Time) {
	ip := netip.MustParseAddr(addr)
	network := addr
	if ip.Is6() && !ip.Is4In6() {
		network = netip.PrefixFrom(ip, 64).Masked().String()
	}
	day := at.In(n.zone).Format("2006-01-02")
	c := n.byDay[day]
	c.PageViews++
	v := n.visitors[day+" "+network+" "+agent]
	switch {
	case v == nil:
		c.Visitors++
		c.Visits++
		n.visitors[day+" "+network+" "+agent] = &naiveVisit{at, at}
	case at.Sub(v.last) > 30*time.Minute || v.first.Sub(at) > 30*time.Minute:
		c.Visits++
		*v = naiveVisit{at, at}
	default:
		if at.After(v.last) {
			v.last = at
		}
		if at.Before(v.first) {
			v.first = at
		}
	}
	n.byDay[day] = c
}

func (n *naive) total() (sum dayCount) {
	for _, c := range n.byDay {
		sum.PageViews += c.PageViews
		sum.Visits += c.Visits
		sum.Visitors += c.Visitors
	}
	return sum
}

// commandWith runs one command line to its end, with standard input.
func commandWith(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, stdin, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// mustWith runs a command that has to work, and returns its standard output.
func mustWith(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	r := commandWith(t, stdin, args...)
	if r.code != exitOK {
		t.Fatalf("dachs %s: exit code %d, %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// newData makes a data directory with one site.
func newData(t *testing.T, domain, zone string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	must(t, "--data", dir, "site", "add", domain, "--timezone", zone)
	return dir
}

// importJSON imports a log through the command and returns the report.
func importJSON(t *testing.T, stdin io.Reader, args ...string) (r importReport) {
	t.Helper()
	out := mustWith(t, stdin, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("report %q: %v", out, err)
	}
	if r.Lines != r.PageViews+r.refused() {
		t.Errorf("%d lines, but %d counted and %d refused", r.Lines, r.PageViews, r.refused())
	}
	return r
}

// stored reads the counts by day back from the store in dir, which no server may have open.
func stored(t *testing.T, dir, domain string) map[string]dayCount {
	t.Helper()
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	site, ok := db.Site(domain)
	if !ok {
		t.Fatal("no site", domain)
	}
	first, last, ok, err := db.Days(site.ID)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]dayCount{}
	if !ok {
		return counts
	}
	res, err := db.Query(t.Context(), storage.Query{
		Site: site.ID, From: first, To: last, Interval: storage.ByDay,
		Metrics: []storage.Metric{storage.PageViews, storage.VisitsTotal, storage.Visitors},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res.Rows {
		counts[r.Day.String()] = dayCount{int(r.Values[0].Number), int(r.Values[1].Number), int(r.Values[2].Number)}
	}
	return counts
}

func checkReport(t *testing.T, r importReport, want dayCount) {
	t.Helper()
	if got := (dayCount{int(r.PageViews), int(r.Visits), int(r.Visitors)}); got != want {
		t.Errorf("report says %+v, naive count %+v", got, want)
	}
}

func TestImportOfRealLogEqualsNaiveCount(t *testing.T) {
	if _, err := os.Stat(realLog); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the real log is not here:", realLog)
	}
	for _, zone := range []string{"UTC", "Asia/Kolkata", "America/New_York"} {
		t.Run(zone, func(t *testing.T) {
			dir := newData(t, "semicomplete.com", zone)
			report := importJSON(t, nil, "--data", dir, "import", "log", realLog, "--site", "semicomplete.com")
			want := countAccepted(t, realLog, zone)
			if report.Lines != 10_000 || report.PageViews < 1000 {
				t.Errorf("%d lines, %d page views", report.Lines, report.PageViews)
			}
			checkReport(t, report, want.total())
			if d := cmp.Diff(want.byDay, stored(t, dir, "semicomplete.com")); d != "" {
				t.Errorf("days differ (-naive +store):\n%s", d)
			}
		})
	}
}

// countAccepted counts naively what the import's filters let through.
func countAccepted(t *testing.T, file, zone string) *naive {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := accesslog.NewReader(f, accesslog.Auto)
	if err != nil {
		t.Fatal(err)
	}
	enricher, err := tracker.NewEnricher(tracker.EnricherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	filter := &logImport{
		site:     storage.Site{Domain: "semicomplete.com"},
		enricher: enricher,
		report:   importReport{Malformed: map[string]int64{}},
	}
	n := newNaive(t, zone)
	for {
		q, err := lines.Next()
		if err == io.EOF {
			return n
		}
		if errors.As(err, new(*accesslog.LineError)) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, why := filter.judge(&q); why == tracker.Accepted {
			n.add(q.Addr.String(), q.UserAgent, q.Time)
		}
	}
}

func TestImportOfEveryFormatEqualsNaiveCount(t *testing.T) {
	log := madeUpLog(7, 2500)
	zones := map[string]string{
		"common": "Europe/Berlin", "combined": "America/New_York", "vhost_combined": "Asia/Kolkata", "caddy": "UTC",
	}
	for name, f := range logFormats {
		t.Run(name, func(t *testing.T) {
			zone := zones[name]
			text, want, refused := f.render(t, log, zone)
			file := filepath.Join(t.TempDir(), "access.log.gz")
			if err := os.WriteFile(file, zipped(t, text), 0o600); err != nil {
				t.Fatal(err)
			}
			dir := newData(t, "shop.example", zone)
			args := []string{"--data", dir, "import", "log", file, "--site", "shop.example"}
			report := importJSON(t, nil, args...)
			checkReport(t, report, want.total())
			if d := cmp.Diff(refused, report.Refused); d != "" {
				t.Errorf("refusals differ (-made up +report):\n%s", d)
			}
			if report.NoAgents == f.agents {
				t.Errorf("report on missing user agents: %v", report.NoAgents)
			}
			if d := cmp.Diff(want.byDay, stored(t, dir, "shop.example")); d != "" {
				t.Errorf("days differ (-naive +store):\n%s", d)
			}

			// The same content again, not compressed and from standard input.
			again := []string{"--data", dir, "import", "log", "-", "--site", "shop.example", "--format", name}
			r := commandWith(t, bytes.NewReader(text), again...)
			if r.code != exitError || !strings.Contains(r.stderr, "--again") {
				t.Errorf("second import: exit code %d: %s", r.code, r.stderr)
			}
			report = importJSON(t, bytes.NewReader(text), append(again, "--again")...)
			checkReport(t, report, want.total())
			if !report.Overlap {
				t.Error("the report does not warn of days that had counts before")
			}
			doubled := map[string]dayCount{}
			for day, c := range want.byDay {
				doubled[day] = dayCount{2 * c.PageViews, 2 * c.Visits, 2 * c.Visitors}
			}
			if d := cmp.Diff(doubled, stored(t, dir, "shop.example")); d != "" {
				t.Errorf("days after --again differ (-twice naive +store):\n%s", d)
			}
		})
	}
}

func TestImportAllHosts(t *testing.T) {
	log := madeUpLog(3, 400)
	f := logFormats["vhost_combined"]
	for i := range log {
		if log[i].fate == tracker.UnknownSite {
			log[i].fate = tracker.Accepted
		}
	}
	text, want, _ := f.render(t, log, "UTC")
	dir := newData(t, "shop.example", "UTC")
	report := importJSON(t, bytes.NewReader(text), "--data", dir, "import", "log", "-", "--site", "shop.example", "--all-hosts")
	checkReport(t, report, want.total())
}

// A day takes a thousand hosts; what comes after them is counted all the same, also by the next import.
func TestImportSaysWhatIsCountedAsOther(t *testing.T) {
	log := func(from, to int) io.Reader {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "h%d.shop.example 192.0.2.1 - - [04/May/2026:12:00:00 +0000] \"GET / HTTP/1.1\" 200 10 \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\"\n", i)
		}
		return strings.NewReader(b.String())
	}
	dir := newData(t, "shop.example", "UTC")
	args := []string{"--data", dir, "import", "log", "-", "--site", "shop.example"}
	for _, step := range []struct {
		from, to     int
		views, other int64
	}{{0, 990, 990, 0}, {900, 1020, 120, 20}, {1000, 1001, 1, 1}} {
		report := importJSON(t, log(step.from, step.to), args...)
		if report.PageViews != step.views || report.Other != step.other {
			t.Errorf("hosts %d to %d: %d page views, %d of them other; want %d, %d", step.from, step.to, report.PageViews, report.Other, step.views, step.other)
		}
	}
	if out := mustWith(t, log(2000, 2003), args...); !strings.Contains(out, "\n3 page views came after") || !strings.Contains(out, "(other)") {
		t.Errorf("the report says:\n%s", out)
	}
}

func TestStoppedImportCountsNothing(t *testing.T) {
	t.Run("alone", func(t *testing.T) { testStoppedImport(t, false) })
	t.Run("beside a server", func(t *testing.T) { testStoppedImport(t, true) })
}

func testStoppedImport(t *testing.T, beside bool) {
	text, want, _ := logFormats["combined"].render(t, madeUpLog(5, 3000), "UTC")
	dir := newData(t, "shop.example", "UTC")
	stop := func() {}
	if beside {
		server := startDachs(t, dir)
		stop = func() { server.stop() }
	}
	args := []string{"--data", dir, "import", "log", "-", "--site", "shop.example"}
	half := func() io.Reader { return bytes.NewReader(text[:len(text)/2]) }

	r := commandWith(t, io.MultiReader(half(), iotest.ErrReader(errors.New("disk on fire"))), args...)
	checkFailure(t, r, exitError, "disk on fire; nothing was counted")

	z := zipped(t, text)
	checkFailure(t, commandWith(t, bytes.NewReader(z[:len(z)-100]), args...), exitError, "the compressed file is cut off; nothing was counted")

	ctx, interrupt := context.WithCancel(t.Context())
	slow, feed := io.Pipe()
	defer feed.Close()
	go func() {
		io.Copy(feed, half()) // returns once the import has taken it all and waits for more
		interrupt()
	}()
	var out, errs bytes.Buffer
	code := run(ctx, args, slow, &out, &errs)
	checkFailure(t, result{code, out.String(), errs.String()}, exitError, "interrupted; nothing was counted")

	// None of the attempts is taken for the import of this log, and none has left anything.
	report := importJSON(t, bytes.NewReader(text), args...)
	checkReport(t, report, want.total())
	if report.Overlap {
		t.Error("the report speaks of counts from before")
	}
	checkFailure(t, commandWith(t, bytes.NewReader(text), args...), exitError, "--again")
	stop()
	if d := cmp.Diff(want.byDay, stored(t, dir, "shop.example")); d != "" {
		t.Errorf("days differ (-naive +store):\n%s", d)
	}
}

// TestImportCutOffByItsClient shows that a client that vanishes, as by kill -9, counts nothing.
func TestImportCutOffByItsClient(t *testing.T) {
	text, _, _ := logFormats["combined"].render(t, madeUpLog(6, 1000), "UTC")
	dir := newData(t, "shop.example", "UTC")
	server := startDachs(t, dir)
	conn, err := dialAdmin(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /import/log?site=shop.example HTTP/1.1\r\nHost: dachs\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(text), text)
	// The answer has begun: the import is under way, and only the final chunk of its log is missing.
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	server.stop()
	if counts := stored(t, dir, "shop.example"); len(counts) != 0 {
		t.Errorf("counted: %v", counts)
	}
}

func TestImportRefusesWhatCannotWork(t *testing.T) {
	dir := newData(t, "shop.example", "UTC")
	for name, c := range map[string]struct {
		stdin string
		args  []string
		code  int
		text  string
	}{
		"no such site":   {"", []string{"-", "--site", "other.example"}, exitError, "site add other.example"},
		"no such file":   {"", []string{"/nonexistent/access.log", "--site", "shop.example"}, exitUsage, "/nonexistent/access.log"},
		"unknown format": {"", []string{"-", "--site", "shop.example", "--format", "iis"}, exitUsage, "caddy"},
		"no log":         {"<html>\n</html>\n", []string{"-", "--site", "shop.example"}, exitError, "none of 2 lines"},
	} {
		t.Run(name, func(t *testing.T) {
			r := commandWith(t, strings.NewReader(c.stdin), append([]string{"--data", dir, "import", "log"}, c.args...)...)
			if r.code != c.code || !strings.Contains(r.stderr, c.text) || r.stdout != "" {
				t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}

func TestImportReportForPeople(t *testing.T) {
	text, want, _ := logFormats["common"].render(t, madeUpLog(9, 1500), "UTC")
	dir := newData(t, "shop.example", "UTC")
	out := mustWith(t, bytes.NewReader(text), "--data", dir, "import", "log", "-", "--site", "shop.example")
	for _, s := range []string{
		"1,500  lines read", grouped(int64(want.total().PageViews)) + "  page views counted", "- malformed (cannot be read)",
		fmt.Sprintf("%s visits by %s visitors", grouped(int64(want.total().Visits)), grouped(int64(want.total().Visitors))),
		"no user agents",
	} {
		if !strings.Contains(out, s) {
			t.Errorf("the report lacks %q:\n%s", s, out)
		}
	}
	if out := mustWith(t, strings.NewReader(""), "--data", dir, "import", "log", "-", "--site", "shop.example"); !strings.Contains(out, "Nothing was counted") {
		t.Errorf("report of an empty log:\n%s", out)
	}
}

// TestImportLeavesNoTraceOfAddresses looks for the addresses and user agents of a log in everything that is left of it.
func TestImportLeavesNoTraceOfAddresses(t *testing.T) {
	line := `198.51.100.77 - canary-user [02/Mar/2026:12:00:00 +0000] "GET /page?canary-query HTTP/1.1" 200 1 "https://ref.example/x?canary-ref" "Mozilla/5.0 (X11; canary-agent) Firefox/145.0"` + "\n"
	bad := `198.51.100.77 - - [02/Mar/2026:12:00:00 +0000] "GET canary-target HTTP/1.1" 200 1 "-" "canary-agent"` + "\n"
	dir := newData(t, "shop.example", "UTC")
	var left bytes.Buffer
	for _, log := range []string{line + bad, bad, line + "\x1f\x8b"} {
		r := commandWith(t, strings.NewReader(log), "--log-level", "debug", "--data", dir, "import", "log", "-", "--site", "shop.example")
		left.WriteString(r.stdout + r.stderr)
	}
	if !strings.Contains(left.String(), "no valid request target") {
		t.Errorf("the outputs do not tell of the bad line: %s", left.String())
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		left.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(left.Bytes(), []byte("shop.example")) {
		t.Fatal("the search does not even find the site")
	}
	for _, canary := range []string{"198.51.100.77", "\xc6\x33\x64\x4d", "canary-"} {
		if bytes.Contains(left.Bytes(), []byte(canary)) {
			t.Errorf("found %q", canary)
		}
	}
}
