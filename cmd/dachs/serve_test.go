package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dachs/storage"
	"dachs/tracker"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
)

var setupLine = regexp.MustCompile(`http://\S+/setup/\S+`)

// TestStarts follows a store from its first start to the one after set-up.
func TestStarts(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	first := startDachs(t, data)
	link := setupLine.FindString(first.stdout.String())
	if link == "" {
		t.Fatalf("first start prints no set-up link:\n%s", first.stdout)
	}
	if want := `<script defer src="` + first.url + `/d.js" data-domain="example.com"></script>`; !strings.Contains(first.stdout.String(), want) {
		t.Errorf("first start prints no tag %s:\n%s", want, first.stdout)
	}
	if status, _ := get(t, link); status != http.StatusOK {
		t.Errorf("the set-up link answers %d", status)
	}
	checkMode(t, data, os.ModeDir|0o700)
	checkMode(t, filepath.Join(data, socketName), os.ModeSocket|0o600)
	if code := first.stop(); code != exitOK {
		t.Errorf("exit code %d after a signal: %s", code, first.stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(data, "*admin*")); left != nil {
		t.Errorf("the stopped server left %v", left)
	}

	second := startDachs(t, data)
	checkNoSecrets(t, second, "works until")
	second.stop()

	fresh := strings.TrimSpace(must(t, "user", "setup", "--data", data, "--base-url", "https://stats.example.com/"))
	if !strings.HasPrefix(fresh, "https://stats.example.com/setup/") {
		t.Errorf("user setup prints %q", fresh)
	}

	db, err := storage.Open(data, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SetOwner(storage.Owner{PasswordHash: "hash"}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	third := startDachs(t, data)
	checkNoSecrets(t, third, "")
	if strings.Contains(third.stdout.String(), "password") {
		t.Errorf("a start after set-up speaks of it:\n%s", third.stdout)
	}
	// An owner who forgot the password gets a link too, from the running server and with its address.
	again := strings.TrimSpace(must(t, "user", "setup", "--data", data))
	if !strings.HasPrefix(again, third.url+"/setup/") {
		t.Errorf("user setup prints %q, want an address of %s", again, third.url)
	}
	if status, _ := get(t, again); status != http.StatusOK {
		t.Errorf("the new set-up link answers %d", status)
	}
}

func checkMode(t *testing.T, name string, want os.FileMode) {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != want {
		t.Errorf("%s has mode %s, want %s", filepath.Base(name), info.Mode(), want)
	}
}

func checkNoSecrets(t *testing.T, s *running, want string) {
	t.Helper()
	out := s.stdout.String()
	if setupLine.MatchString(out) || strings.Contains(out, "<script") {
		t.Errorf("a later start prints link or tag again:\n%s", out)
	}
	if !strings.Contains(out, want) {
		t.Errorf("a later start does not say %q:\n%s", want, out)
	}
}

// TestExpiredSetup shows that a start after the link has expired names the command for a new one.
func TestExpiredSetup(t *testing.T) {
	now := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	db, err := storage.Open(t.TempDir(), storage.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := &server{store: db, base: "http://localhost:8080", admin: &admin{store: db, base: "http://localhost:8080", now: clock}}
	var out strings.Builder
	if err := s.greet(&out, "./elsewhere"); err != nil || !setupLine.MatchString(out.String()) {
		t.Fatalf("first start: %v, %s", err, &out)
	}
	now = now.Add(setupValidFor)
	out.Reset()
	if err := s.greet(&out, "./elsewhere"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "dachs user setup --data ./elsewhere") || setupLine.MatchString(out.String()) {
		t.Errorf("start after the link has expired prints:\n%s", &out)
	}
}

// TestStopDrains holds a request open over the signal to stop: it is still answered.
func TestStopDrains(t *testing.T) {
	s := startDachs(t, filepath.Join(t.TempDir(), "data"))
	addr := strings.TrimPrefix(s.url, "http://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"n":"pageview","u":"https://unknown.example/","d":"unknown.example"}`
	fmt.Fprintf(conn, "POST /api/event HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:10])
	// The server has to have read the beginning, or the connection is an idle one.
	if _, err := http.Get(s.url + "/healthz"); err != nil {
		t.Fatal(err)
	}
	code := make(chan int)
	go func() { code <- s.stop() }()
	for { // until it no longer listens; the test's own timeout bounds it
		probe, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		probe.Close()
		time.Sleep(5 * time.Millisecond)
	}
	io.WriteString(conn, body[10:])
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("a request under way at the signal got no answer: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("a request under way at the signal got %d, want 202", resp.StatusCode)
	}
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d: %s", got, s.stderr)
	}
}

// TestLimits sends what the public port must refuse, and looks for traces of it in the log.
func TestLimits(t *testing.T) {
	s := startDachs(t, filepath.Join(t.TempDir(), "data"), "--log-level", "debug")
	const canary = "canary-5b1f"
	f := func(want int, request string) {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go io.WriteString(conn, request) // refused before it is read to its end
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%.30q: no answer: %v", request, err)
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			t.Errorf("%.30q: status %d, want %d", request, resp.StatusCode, want)
		}
		if strings.Contains(string(text), canary) {
			t.Errorf("%.30q: the answer repeats the request: %q", request, text)
		}
		if server := resp.Header.Get("Server"); server != "" {
			t.Errorf("%.30q: header Server is %q, want none", request, server)
		}
	}
	long := strings.Repeat("x", maxBody+1)
	f(http.StatusRequestEntityTooLarge, fmt.Sprintf("POST /api/event?%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", canary, len(long), long))
	f(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("GET /%s HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", canary, long))
	f(http.StatusBadRequest, fmt.Sprintf("GET /%s\r\n\r\n", canary))
	f(http.StatusBadRequest, fmt.Sprintf("GET /%s HTTP/1.1\r\nHost: x\r\n%s broken header\r\n\r\n", canary, canary))
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for _, secret := range []string{canary, "127.0.0.1:"} {
		if strings.Contains(s.stderr.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, s.stderr)
		}
	}
}

// TestPanic shows that a panic costs one answer, and that the log says where and not what.
func TestPanic(t *testing.T) {
	var log strings.Builder
	ln := fasthttputil.NewInmemoryListener()
	srv := &fasthttp.Server{Handler: guard(slog.New(slog.NewTextHandler(&log, nil)), func(ctx *fasthttp.RequestCtx) {
		panic(fmt.Sprintf("cannot handle %s of %s", ctx.RequestURI(), ctx.UserAgent()))
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }}}
	resp, err := client.Get("http://x/canary-path?canary-query")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := srv.Shutdown(); err != nil {
		t.Fatal(err)
	}
	<-served
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d, want 500", resp.StatusCode)
	}
	if !strings.Contains(log.String(), "TestPanic") {
		t.Errorf("the log does not say where it happened: %s", &log)
	}
	for _, secret := range []string{"canary", "Go-http-client"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q: %s", secret, &log)
		}
	}
}

// TestClientBehindProxy shows whom the dashboard takes for the client: only a trusted proxy may name another
// than itself, and what it names holds for its request alone.
func TestClientBehindProxy(t *testing.T) {
	db, err := storage.Open(t.TempDir(), storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	f := func(proxies []string, forwarded, want string) {
		t.Helper()
		trusted, err := parsePrefixes(proxies)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := tracker.New(tracker.Options{Store: db, TrustedProxies: trusted})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		srv := newPublicServer(tr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			io.WriteString(w, host)
		}), slog.New(slog.DiscardHandler))
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		client := &http.Client{Transport: &http.Transport{}}
		defer func() { client.CloseIdleConnections(); srv.Shutdown(); <-served }()
		for _, header := range []string{forwarded, ""} { // the second on the same connection
			req, err := http.NewRequest(http.MethodGet, "http://"+ln.Addr().String()+"/login", nil)
			if err != nil {
				t.Fatal(err)
			}
			if header == "" {
				want = "127.0.0.1"
			} else {
				req.Header.Set("X-Forwarded-For", header)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(got) != want {
				t.Errorf("proxies %v, X-Forwarded-For %q: client is %s, want %s", proxies, header, got, want)
			}
		}
	}
	f(nil, "203.0.113.7", "127.0.0.1")
	f([]string{"10.0.0.0/8"}, "203.0.113.7", "127.0.0.1")
	f([]string{"127.0.0.1"}, "203.0.113.7", "203.0.113.7")
	f([]string{"127.0.0.0/8", "::1"}, "198.51.100.1, 203.0.113.7", "203.0.113.7")
	f([]string{"::ffff:127.0.0.1"}, "2001:db8::1", "2001:db8::1")
}
