package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"dachs/storage"
	"dachs/tracker/accesslog"

	"github.com/google/go-cmp/cmp"
)

// plainLog holds three visitors, one of them with two pages, and a line that nobody can read.
const plainLog = `198.51.100.7 - - [02/Mar/2026:23:10:05 +0000] "GET /a?x=1 HTTP/1.1" 200 1 "-" "` + agentA + `"
203.0.113.9 - - [02/Mar/2026:23:20:00 +0000] "GET /b HTTP/1.1" 200 1 "-" "` + agentA + `"
198.51.100.7 - - [02/Mar/2026:23:24:00 +0000] "GET /b HTTP/1.1" 200 1 "-" "` + agentA + `"
garbage
203.0.113.9 - - [03/Mar/2026:00:10:00 +0000] "POST /b HTTP/1.1" 302 1 "-" "` + agentA + `"
203.0.113.9 - - [03/Mar/2026:00:10:01 +0000] "GET /c HTTP/1.1" 200 1 "-" "` + agentA + `"
`

// optedOutLine is a request of somebody who does not want to be counted.
const optedOutLine = `{"ts":1772492400,"request":{"client_ip":"198.51.100.8","method":"GET","host":"shop.example","uri":"/d","headers":{"Sec-Gpc":["1"]}},"status":200}` + "\n"

// changed returns plainLog with old replaced everywhere.
func changed(t *testing.T, old, new string) string {
	t.Helper()
	log := strings.ReplaceAll(plainLog, old, new)
	if log == plainLog {
		t.Fatalf("%q is not in the log", old)
	}
	return log
}

// sameLogs differ from plainLog in what is about a visitor only.
func sameLogs(t *testing.T) map[string]string {
	return map[string]string{
		"address":              changed(t, "198.51.100.7 ", "198.51.100.123 "),
		"second":               changed(t, "23:20:00", "23:20:01"),
		"address and second":   strings.ReplaceAll(changed(t, "198.51.100.7 ", "198.51.100.123 "), "23:20:00", "23:20:59"),
		"query":                changed(t, "?x=1", "?secret=12345"),
		"opted out of counts":  plainLog + optedOutLine,
		"line ends of Windows": changed(t, "\n", "\r\n"),
	}
}

// otherLogs differ from it in what was asked for.
func otherLogs(t *testing.T) map[string]string {
	return map[string]string{
		"path":              changed(t, "/c ", "/d "),
		"length of a path":  changed(t, "/c ", "/cc "),
		"status":            changed(t, "302", "303"),
		"method":            changed(t, "POST", "HEAD"),
		"hour":              changed(t, "23:20:00", "22:20:00"),
		"day":               changed(t, "03/Mar", "04/Mar"),
		"one line more":     plainLog + "203.0.113.9 - - [03/Mar/2026:00:10:02 +0000] \"GET /c HTTP/1.1\" 200 1 \"-\" \"" + agentA + "\"\n",
		"one unreadable":    plainLog + "garbage\n",
		"another order":     strings.Join(reversed(strings.SplitAfter(plainLog, "\n")), ""),
		"only opted-out":    optedOutLine,
		"parts moved along": strings.ReplaceAll(changed(t, "/a?", "/ab?"), "GET /b ", "GET / "),
	}
}

func reversed(lines []string) []string {
	lines = slices.Clone(lines)
	slices.Reverse(lines)
	return lines
}

func fingerprint(t *testing.T, log io.Reader, zone string) storage.Fingerprint {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := accesslog.NewReader(log, accesslog.Auto)
	if err != nil {
		t.Fatal(err)
	}
	p := logPrint{zone: loc}
	for {
		q, err := lines.Next()
		switch {
		case err == io.EOF:
			return p.finish()
		case err != nil:
			p.addUnreadable()
		default:
			p.add(&q)
		}
	}
}

func TestFingerprintHoldsNothingOfVisitors(t *testing.T) {
	want := fingerprint(t, strings.NewReader(plainLog), "UTC")
	if want.Bytes != int64(len("/a/b/b/b/c")) || want.Lines != 6 || want.Checksum == 0 {
		t.Errorf("fingerprint is %+v", want)
	}
	for what, log := range sameLogs(t) {
		if got := fingerprint(t, strings.NewReader(log), "UTC"); got != want {
			t.Errorf("another %s: %+v, want %+v", what, got, want)
		}
	}
	if got := fingerprint(t, bytes.NewReader(zipped(t, []byte(plainLog))), "UTC"); got != want {
		t.Errorf("compressed: %+v, want %+v", got, want)
	}
	for what, log := range otherLogs(t) {
		if got := fingerprint(t, strings.NewReader(log), "UTC"); got == want {
			t.Errorf("another %s: the same %+v", what, got)
		}
	}
	// In India 23:30 is no full hour of the log, and 23:29:59 no other hour of the site than 23:00.
	a := changed(t, "23:24:00", "23:29:59")
	b := changed(t, "23:24:00", "23:30:00")
	if fingerprint(t, strings.NewReader(a), "Asia/Kolkata") == fingerprint(t, strings.NewReader(b), "Asia/Kolkata") {
		t.Error("the hour is not the site's")
	}
}

// TestImportsThatDifferInVisitorsOnly compares what is left of two logs: the answers, and whether the one is
// refused after the other.
func TestImportsThatDifferInVisitorsOnly(t *testing.T) {
	with := func(log string) (dir string, days map[string]dayCount) {
		dir = newData(t, "shop.example", "UTC")
		importJSON(t, strings.NewReader(log), "--data", dir, "import", "log", "-", "--site", "shop.example")
		return dir, stored(t, dir, "shop.example")
	}
	dir, want := with(plainLog)
	if len(want) != 2 {
		t.Fatalf("counted: %v", want)
	}
	twin := sameLogs(t)["address and second"]
	if _, got := with(twin); !cmp.Equal(want, got) {
		t.Errorf("answers differ:\n%s", cmp.Diff(want, got))
	}
	args := []string{"--data", dir, "import", "log", "-", "--site", "shop.example"}
	checkFailure(t, commandWith(t, strings.NewReader(twin), args...), exitError, "was imported into shop.example before; --again")
	if d := cmp.Diff(want, stored(t, dir, "shop.example")); d != "" {
		t.Errorf("a refused import counted:\n%s", d)
	}
	mustWith(t, strings.NewReader(otherLogs(t)["path"]), args...)
}
