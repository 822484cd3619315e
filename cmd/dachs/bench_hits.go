package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"dachs/storage"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

const (
	// benchConns is how many connections send hits, each the next one when the last is answered.
	benchConns = 64
	// benchPeople is among how many visitors the hits are spread.
	benchPeople = 50_000
	// benchWarm is what part of the hits is sent before measuring: tables grow, and everybody is new.
	benchWarm = 5
	// benchReply bounds the wait for one answer.
	benchReply = 30 * time.Second
)

// Kinds of servers that are measured: what a server costs that does nothing, one that parses, and ours.
const (
	benchBare  = "bare"
	benchParse = "parse"
	benchServe = "serve"
)

// runHits sends hits to a server in a process of its own, and prints what they cost it beside what they cost servers that
// do less, in the same run.
func (b *bench) runHits(ctx context.Context) error {
	b.line("%d hits over %d connections, %d visitors, %d pages", b.Hits, benchConns, benchPeople, benchPages)
	first := 0.0
	for _, kind := range []string{benchBare, benchParse, benchServe} {
		cost, rate, peak, err := b.hits(ctx, kind) // each in a process of its own
		if err != nil {
			return err
		}
		switch kind {
		case benchBare:
			first = rate
			b.line("fasthttp, answers 204\t%.1f ms of CPU for 1,000\t%.0f a second", cost, rate)
		case benchParse:
			b.line("fasthttp, parses the JSON\t%.1f ms of CPU for 1,000\t%.0f a second", cost, rate)
		default:
			b.line("dachs, counted and stored\t%.1f ms of CPU for 1,000\t%.0f a second, %.0f %% of the first\ttarget 25ms, 60 %%", cost, rate, 100*rate/first)
			b.line("memory at most\t%s\ttarget 200 MB", peak)
		}
	}
	return nil
}

// hits measures one server: its CPU time for 1,000 hits in milliseconds, hits a second, and its peak of memory.
func (b *bench) hits(ctx context.Context, kind string) (cost, rate float64, peak string, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	dir := filepath.Join(b.dir, kind)
	if kind == benchServe {
		if err := addBenchSite(b.app, dir); err != nil {
			return 0, 0, "", err
		}
	}
	child, addr, err := startBenchServer(ctx, kind, dir)
	if err != nil {
		return 0, 0, "", err
	}
	defer child.Wait()
	defer stop()
	requests := makeBenchRequests(addr)
	if err := sendBenchHits(ctx, addr, requests, b.Hits/benchWarm); err != nil {
		return 0, 0, "", err
	}
	before, err := cpuOf(child.Process.Pid)
	if err != nil {
		return 0, 0, "", err
	}
	start := time.Now()
	if err := sendBenchHits(ctx, addr, requests, b.Hits); err != nil {
		return 0, 0, "", err
	}
	took := time.Since(start)
	after, err := cpuOf(child.Process.Pid)
	if err != nil {
		return 0, 0, "", err
	}
	_, peak = memoryOf(child.Process.Pid)
	return (after - before).Seconds() * 1e6 / float64(b.Hits), float64(b.Hits) / took.Seconds(), peak, nil
}

func addBenchSite(a *app, dir string) (err error) {
	db, err := storage.Open(dir, storage.Options{Logger: a.logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, ok := db.Site(benchDomain); ok {
		return nil
	}
	_, err = db.AddSite(benchDomain, "UTC")
	return err
}

// startBenchServer starts this program once more as a server, and returns the address that it listens on.
func startBenchServer(ctx context.Context, kind, dir string) (*exec.Cmd, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	addr := ln.Addr().String()
	ln.Close()
	args := []string{"bench-server", "--kind", kind, "--listen", addr}
	if kind == benchServe {
		args = []string{"serve", "--listen", addr, "--data", dir, "--trusted-proxies", "127.0.0.1", "--log-level", "error"}
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = benchReply
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start server: %w", err)
	}
	for range 300 { // 30 seconds
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return cmd, addr, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	return nil, "", errors.Join(fmt.Errorf("the server on %s does not answer", addr), cmd.Wait())
}

// benchServerCmd is one of the servers to compare with. It has no other use.
type benchServerCmd struct {
	Kind   string `enum:"bare,parse" default:"bare"`
	Listen string `default:"127.0.0.1:0"`
}

// Run implements the command.
func (c *benchServerCmd) Run(ctx context.Context, _ *app) error {
	var parsers fastjson.ParserPool
	server := &fasthttp.Server{NoDefaultServerHeader: true, NoDefaultContentType: true, Handler: func(ctx *fasthttp.RequestCtx) {
		if c.Kind == benchParse {
			p := parsers.Get()
			if v, err := p.ParseBytes(ctx.PostBody()); err != nil || len(v.GetStringBytes("u")) == 0 {
				ctx.SetStatusCode(fasthttp.StatusBadRequest)
				return
			}
			parsers.Put(p)
		}
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	}}
	ln, err := listen(c.Listen)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Shutdown() })
	defer stop()
	return server.Serve(ln)
}

// makeBenchRequests writes a request for each visitor, as a browser behind a proxy sends them: sent as they are, they cost the
// sender little, which shares the machine.
func makeBenchRequests(addr string) [][]byte {
	r := rand.New(rand.NewPCG(benchSeed, 0))
	t := newBenchTraffic(0)
	agents := []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
	}
	referrers := []string{"", "https://www.google.com/", "https://www.bing.com/", "https://news.example.org/article/7", "https://t.co/x"}
	requests := make([][]byte, 2*benchPeople)
	for i := range requests {
		who := i % benchPeople
		body := fmt.Sprintf(`{"n":"pageview","v":1,"u":"https://%s%s","d":"%s","r":"%s"}`, benchDomain, t.paths[t.page.Uint64()], benchDomain, pick(r, referrers))
		requests[i] = fmt.Appendf(nil, "POST /api/event HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nContent-Type: text/plain\r\nAccept: */*\r\n"+
			"Origin: https://%s\r\nReferer: https://%s/\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: %s\r\nX-Forwarded-For: 81.%d.%d.%d\r\nContent-Length: %d\r\n\r\n%s",
			addr, agents[who%len(agents)], benchDomain, benchDomain, []string{"en-US,en;q=0.9", "de-DE,de;q=0.9,en;q=0.8", "fr"}[who%3],
			who>>16, who>>8&255, who&255, len(body), body)
	}
	r.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	return requests
}

// sendBenchHits sends a number of hits and waits for all answers, each of which must accept.
func sendBenchHits(ctx context.Context, addr string, requests [][]byte, hits int) error {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, benchConns)
	for i := range benchConns {
		all.Go(func() {
			errs[i] = sendBenchConn(ctx, addr, func() []byte {
				n := int(next.Add(1)) - 1
				if n >= hits {
					return nil
				}
				return requests[n%len(requests)]
			})
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func sendBenchConn(ctx context.Context, addr string, next func() []byte) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for request := next(); request != nil && ctx.Err() == nil; request = next() {
		if err := conn.SetDeadline(time.Now().Add(benchReply)); err != nil {
			return err
		}
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if err := readBenchReply(r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// readBenchReply reads one answer.
func readBenchReply(r *bufio.Reader) error {
	status, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(status) < 12 || status[9] != '2' {
		return fmt.Errorf("a hit was answered with %q", strings.TrimSpace(string(status)))
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name := "content-length:"; len(line) > len(name) && strings.EqualFold(string(line[:len(name)]), name) {
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[len(name):]))); err != nil {
				return err
			}
		}
	}
	_, err = r.Discard(length)
	return err
}

// clockTick is how long a unit of /proc/PID/stat is: sysconf(_SC_CLK_TCK) is 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuOf returns the CPU time that a process has used.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w: this is measured on Linux only", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("read CPU time: %q", stat)
	}
	var sum time.Duration
	for _, f := range fields[11:13] { // user and system time
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		sum += time.Duration(n) * clockTick
	}
	return sum, nil
}
