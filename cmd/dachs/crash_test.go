package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	crashRounds  = 10
	crashSenders = 16
)

// ledger notes what the server promised. Each hit has a path of its own, so that each can be looked for.
type ledger struct {
	mu       sync.Mutex
	sent     map[string]bool
	accepted map[string]bool
}

// TestKilledServerKeepsEveryAcceptedHit kills the running server with SIGKILL under load, ten times, and looks
// for every hit that it had accepted after each restart.
func TestKilledServerKeepsEveryAcceptedHit(t *testing.T) {
	data := t.TempDir()
	must(t, "site", "add", "example.com", "--data", data)
	l := &ledger{sent: make(map[string]bool), accepted: make(map[string]bool)}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range crashRounds {
		p := startProcess(t, data, "--trusted-proxies", "127.0.0.1")
		l.check(t, data, fmt.Sprint("start ", round+1))
		before := len(l.accepted)
		l.loadUntilKilled(t, p, round, 100*time.Millisecond+time.Duration(r.IntN(300))*time.Millisecond)
		if len(l.accepted) == before {
			t.Fatalf("round %d: nothing was accepted, the test shows nothing", round)
		}
	}
	startProcess(t, data)
	l.check(t, data, "the last start")
	t.Logf("%d hits accepted, %d sent", len(l.accepted), len(l.sent))
}

// loadUntilKilled sends hits from many connections and kills the server in the middle of it.
func (l *ledger) loadUntilKilled(t *testing.T, p *process, round int, after time.Duration) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: crashSenders}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	var senders sync.WaitGroup
	for s := range crashSenders {
		senders.Go(func() {
			for n := range 10_000 {
				if !l.send(client, p.url, fmt.Sprintf("%s%d/%d", roundPath(round), s, n), fmt.Sprintf("192.0.2.%d", (s*31+n)%250)) {
					return
				}
			}
		})
	}
	time.Sleep(after)
	p.kill()
	senders.Wait()
}

// send sends one hit and reports whether the server still answers.
func (l *ledger) send(client *http.Client, url, path, addr string) bool {
	l.mu.Lock()
	l.sent[path] = true
	l.mu.Unlock()
	req, err := http.NewRequest(http.MethodPost, url+"/api/event",
		strings.NewReader(`{"n":"pageview","d":"example.com","u":"https://example.com`+path+`"}`))
	if err != nil {
		return false
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	req.Header.Set("X-Forwarded-For", addr)
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // for the next request on this connection
	if resp.StatusCode == http.StatusAccepted {
		l.mu.Lock()
		l.accepted[path] = true
		l.mu.Unlock()
	}
	return true
}

// roundPath is how the paths of a round begin.
func roundPath(round int) string { return fmt.Sprintf("/round-%d/", round) }

// check reads every path back: accepted hits are there, once; others may be there, if the answer was lost.
func (l *ledger) check(t *testing.T, data, when string) {
	t.Helper()
	found := make(map[string]bool)
	for round := range crashRounds { // a round at a time: an answer has at most 10,000 rows
		l.checkRound(t, data, round, found)
	}
	lost := 0
	for path := range l.accepted {
		if !found[path] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%s: %d of %d accepted hits are lost", when, lost, len(l.accepted))
	}
}

// checkRound adds the paths of one round to found.
func (l *ledger) checkRound(t *testing.T, data string, round int, found map[string]bool) {
	t.Helper()
	text := must(t, "query", "--data", data, "--site", "example.com", "--range", "all", "--format", "json",
		"--metrics", "pageviews,visits,visitors", "--dimensions", "event:page", "--limit", "10000",
		"--filter", "contains,event:page,"+roundPath(round))
	var answer struct {
		Results []struct {
			Metrics    []float64
			Dimensions []string
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	for _, r := range answer.Results {
		path := r.Dimensions[0]
		if !l.sent[path] {
			t.Errorf("%s was never sent", path)
		}
		if r.Metrics[0] != 1 || r.Metrics[1] != 1 || r.Metrics[2] != 1 {
			t.Errorf("%s has %v page views, visits and visitors, want 1 of each", path, r.Metrics)
		}
		found[path] = true
	}
}
