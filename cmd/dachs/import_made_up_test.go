package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"dachs/tracker"
)

// request is a line of a log of our own making, with what has to become of it.
type request struct {
	at                   time.Time
	addr, agent          string
	method, host, path   string
	status               int
	referrer, gpc, ahead string
	raw                  string // a line that is no request
	fate                 tracker.Reason
}

const (
	agentA = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	agentB = `Mozilla/5.0 (Windows NT 10.0; "odd\quotes") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/155.0.0.0 Safari/537.36`
	agentC = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1"
)

// madeUpLog returns requests over four days around a change of the clocks, slightly out of order as logs are.
func madeUpLog(seed uint64, n int) []request {
	r := rand.New(rand.NewPCG(seed, 1))
	clock := time.Date(2026, 3, 27, 3, 0, 0, 0, time.UTC)
	log := make([]request, n)
	for i := range log {
		clock = clock.Add(time.Duration(r.IntN(240)) * time.Second)
		q := request{
			at: clock.Add(-time.Duration(r.IntN(600)) * time.Second), addr: madeUpAddr(r),
			agent:  []string{agentA, agentB, agentC}[r.IntN(3)],
			method: "GET", host: "shop.example", path: []string{"/", "/a", "/b/c.html?x=1", "/%C3%A4", "/a/"}[r.IntN(5)],
			status: []int{200, 200, 200, 304}[r.IntN(4)], referrer: []string{"", "https://shop.example/", "https://ref.example/?q=x"}[r.IntN(3)],
		}
		switch r.IntN(20) {
		case 0:
			q.path, q.fate = []string{"/app.css", "/robots.txt", "/x.png?v=2", "/feed/"}[r.IntN(4)], tracker.Asset
		case 1:
			q.status, q.fate = []int{404, 301, 500, 206}[r.IntN(4)], tracker.Status
		case 2:
			q.method, q.fate = []string{"POST", "HEAD"}[r.IntN(2)], tracker.Method
		case 3:
			q.agent, q.fate = []string{"Googlebot/2.1 (+http://www.google.com/bot.html)", "curl/8.5.0", ""}[r.IntN(3)], tracker.Bot
		case 4:
			q.raw, q.fate = []string{"garbage", "\x00", strings.Repeat("x", 70_000), `{"ts":`, "  "}[r.IntN(5)], tracker.Malformed
		case 5:
			q.host, q.fate = []string{"other.example", "notshop.example", "192.0.2.1"}[r.IntN(3)], tracker.UnknownSite
		case 6:
			q.gpc, q.fate = "1", tracker.GPC
		case 7:
			q.ahead, q.fate = "prefetch;prerender", tracker.Prefetch
		case 8:
			q.host = "blog.shop.example" // counts
		}
		log[i] = q
	}
	return log
}

// madeUpAddr draws from the blocks for documentation. Half of the IPv6 ones share a /64 with another.
func madeUpAddr(r *rand.Rand) string {
	switch r.IntN(3) {
	case 0:
		return fmt.Sprintf("2001:db8:0:%x::%x", r.IntN(8), r.IntN(1000)+1)
	case 1:
		return fmt.Sprintf("198.51.100.%d", r.IntN(12))
	}
	return fmt.Sprintf("203.0.113.%d", r.IntN(12))
}

// logFormat writes requests as a server does. Where the format lacks a field, the fate changes with it.
type logFormat struct {
	write        func(*request) string
	agents, host bool
	headers      bool
}

func textLine(q *request, zone *time.Location) string {
	return fmt.Sprintf(`%s - - [%s] "%s %s HTTP/1.1" %d 4711`, q.addr, q.at.In(zone).Format("02/Jan/2006:15:04:05 -0700"), q.method, q.path, q.status)
}

func quotedAgent(q *request) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return escape.Replace(s)
	}
	return fmt.Sprintf(` "%s" "%s"`, dash(q.referrer), dash(q.agent))
}

func caddyLine(q *request) string {
	headers := map[string][]string{}
	for name, value := range map[string]string{"User-Agent": q.agent, "Referer": q.referrer, "Sec-Gpc": q.gpc, "Sec-Purpose": q.ahead} {
		if value != "" {
			headers[name] = []string{value}
		}
	}
	line, err := json.Marshal(map[string]any{
		"level": "info", "ts": float64(q.at.Unix()) + 0.25, "msg": "handled request", "status": q.status, "size": 4711,
		"request": map[string]any{"remote_ip": "192.0.2.9", "client_ip": q.addr, "method": q.method, "host": q.host, "uri": q.path, "headers": headers},
	})
	if err != nil {
		panic(err)
	}
	return string(line)
}

var logFormats = map[string]logFormat{
	"common":         {write: func(q *request) string { return textLine(q, time.UTC) }},
	"combined":       {write: func(q *request) string { return textLine(q, time.FixedZone("", -7*3600)) + quotedAgent(q) }, agents: true},
	"vhost_combined": {write: func(q *request) string { return q.host + ":443 " + textLine(q, time.UTC) + quotedAgent(q) }, agents: true, host: true},
	"caddy":          {write: caddyLine, agents: true, host: true, headers: true},
}

// render writes the log and counts it naively, by what each request was made to be.
func (f logFormat) render(t *testing.T, log []request, zone string) (text []byte, want *naive, refused map[string]int64) {
	t.Helper()
	var b bytes.Buffer
	want, refused = newNaive(t, zone), map[string]int64{}
	for i := range log {
		q := log[i]
		switch {
		case q.fate == tracker.Bot && !f.agents, q.fate == tracker.UnknownSite && !f.host,
			(q.fate == tracker.GPC || q.fate == tracker.Prefetch) && !f.headers:
			q.fate = tracker.Accepted
		}
		if q.fate != tracker.Accepted {
			refused[q.fate.String()]++
		} else if f.agents {
			want.add(q.addr, q.agent, q.at)
		} else {
			want.add(q.addr, "", q.at)
		}
		if q.raw != "" {
			b.WriteString(q.raw + "\n")
		} else {
			b.WriteString(f.write(&q) + "\n")
		}
	}
	return b.Bytes(), want, refused
}

func zipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, part := range [][]byte{text[:len(text)/3], text[len(text)/3:]} { // two members, as from cat a.gz b.gz
		z := gzip.NewWriter(&b)
		if _, err := z.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}
