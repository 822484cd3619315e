package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dachs/storage"
	"dachs/tracker"

	"github.com/valyala/fasthttp"
)

// proxyAddr is the address from which the proxies of these tests connect, so that they are told from what is behind them.
const proxyAddr = "127.0.0.2"

// frontProxy is a reverse proxy whose target can be set once that is known. set says what it does to headers: that of the
// request that it sends has none that name a client.
// It begins each connection with first.
func frontProxy(t *testing.T, set func(r *httputil.ProxyRequest), first string) (front *httptest.Server, target *atomic.Value) {
	t.Helper()
	from := &net.TCPAddr{IP: net.ParseIP(proxyAddr)}
	if ln, err := net.ListenTCP("tcp", from); err != nil {
		t.Skipf("this machine has no %s: %v", proxyAddr, err)
	} else {
		ln.Close()
	}
	target = new(atomic.Value)
	target.Store("127.0.0.1:1") // where nobody listens
	front = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: target.Load().(string)})
			r.Out.Header.Del("X-Real-Ip")
			set(r)
		},
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, network, addr)
			if err == nil {
				_, err = io.WriteString(conn, first)
			}
			return conn, err
		}},
		ErrorLog: silentLog(),
	})
	t.Cleanup(front.Close)
	return front, target
}

func appends(r *httputil.ProxyRequest) {
	r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
	r.SetXForwarded()
}

func passesOn(r *httputil.ProxyRequest) {
	r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
	r.Out.Header.Set("X-Real-IP", "127.0.0.1")
}

var listenLine = regexp.MustCompile(`listens on (\S+)\. Dashboard`)

// TestDoctor runs the built program behind proxies that are set up rightly and wrongly, and the built `dachs doctor` against it.
func TestDoctor(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(r *httputil.ProxyRequest)
		first string
		args  []string
		code  int
		want  []string // parts of what is printed
	}{
		"right": {appends, "", []string{"--trusted-proxies", proxyAddr}, exitOK,
			[]string{"ok       the proxy 127.0.0.2 names the client in X-Forwarded-For: this request counts as one from 127.0.0.1", "ok       a forged X-Forwarded-For is not believed",
				"ok       the script is at", "ok       events are accepted at", "warning  everybody can read"}},
		"not trusted": {appends, "", nil, exitError,
			[]string{"WRONG    all visitors look like one: requests come from 127.0.0.2", "-> set --trusted-proxies 127.0.0.2 (or the network of the proxy)\n"}},
		"passed on": {passesOn, "", []string{"--trusted-proxies", proxyAddr}, exitError,
			[]string{"WRONG    anybody can choose the address they are counted by", "-> set --client-header X-Real-Ip, which the proxy sets and a client cannot"}},
		"names nobody": {func(*httputil.ProxyRequest) {}, "", []string{"--trusted-proxies", proxyAddr}, exitError,
			[]string{"WRONG    all visitors look like one: the proxy 127.0.0.2 is trusted, but names nobody in X-Forwarded-For", "proxy_set_header X-Forwarded-For $remote_addr"}},
		"does not speak": {appends, "", []string{"--trusted-proxies", proxyAddr, "--proxy-protocol"}, exitError,
			[]string{"WRONG    the proxy does not reach the server (status 502), which expects the PROXY protocol"}},
		"speaks": {appends, "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n", []string{"--trusted-proxies", proxyAddr, "--proxy-protocol"}, exitOK,
			[]string{"ok       the proxy 127.0.0.2 names the client in the PROXY protocol: this request counts as one from 198.51.100.7"}},
		"right, by another header": {passesOn, "", []string{"--trusted-proxies", proxyAddr, "--client-header", "x-real-ip"}, exitOK,
			[]string{"ok       a forged X-Real-Ip is not believed", "the proxy passes on X-Forwarded-For as the client wrote it"}},
	} {
		t.Run(name, func(t *testing.T) {
			front, target := frontProxy(t, c.set, c.first)
			data := filepath.Join(t.TempDir(), "data")
			p := startProcess(t, data, append(c.args, "--base-url", front.URL)...)
			target.Store(listenLine.FindStringSubmatch(p.stdout.String())[1])
			binary, err := builtProgram()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			doctor := exec.CommandContext(ctx, binary, "doctor", "--data", data)
			var stdout, stderr bytes.Buffer
			doctor.Stdout, doctor.Stderr = &stdout, &stderr
			doctor.Run()
			if code := doctor.ProcessState.ExitCode(); code != c.code || (code == exitOK) != (stderr.Len() == 0) {
				t.Errorf("exit code %d, %s\n%s", code, &stderr, &stdout)
			}
			for _, want := range c.want {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("no %q in\n%s", want, &stdout)
				}
			}
			// The event was one of somebody who objects.
			resp, err := http.Get(front.URL + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			metrics, _ := io.ReadAll(resp.Body)
			if resp.StatusCode == 200 && !strings.Contains(string(metrics), "dachs_hits_accepted_total 0\n") {
				t.Error("the doctor was counted")
			}
		})
	}
}

// TestDoctorBeforeProxies shows what the doctor says where it does not get as far as headers.
func TestDoctorBeforeProxies(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	checkFailure(t, dachs(t, "doctor", "--data", data), exitError, "none runs on "+data)
	must(t, "site", "add", "example.com", "--data", data)
	checkFailure(t, dachs(t, "doctor", "--data", data), exitError, "none runs on "+data)
	s := startDachs(t, data)
	checkFailure(t, dachs(t, "doctor", "--data", data, "--url", "stats.example.com"), exitUsage, "--url")

	if r := dachs(t, "doctor", "--data", data); r.code != exitOK || !strings.Contains(r.stdout, "warning  no proxy is between this command and the server") {
		t.Errorf("asked directly: %d %s\n%s", r.code, r.stderr, r.stdout)
	}
	f := func(want string, handler http.HandlerFunc) {
		t.Helper()
		other := httptest.NewServer(handler)
		defer other.Close()
		if r := dachs(t, "doctor", "--data", data, "--url", other.URL); r.code != exitError || !strings.Contains(r.stdout, "WRONG    "+want) {
			t.Errorf("%d %s\n%s", r.code, r.stderr, r.stdout)
		}
	}
	f("http://127.0.0.1", http.NotFound)
	f("http://127.0.0.1", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	f("the proxy does not reach the server (status 502)", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	f("http://127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
	})
	closed := httptest.NewServer(nil)
	closed.Close()
	if r := dachs(t, "doctor", "--data", data, "--url", closed.URL); r.code != exitError || !strings.Contains(r.stdout, "does not answer: connection refused") {
		t.Errorf("%d %s\n%s", r.code, r.stderr, r.stdout)
	}
	https := httptest.NewTLSServer(http.NotFoundHandler())
	defer https.Close()
	https.Config.ErrorLog = silentLog()
	if r := dachs(t, "doctor", "--data", data, "--url", https.URL); r.code != exitError || !strings.Contains(r.stdout, "not signed by anybody known here") {
		t.Errorf("%d %s\n%s", r.code, r.stderr, r.stdout)
	}
	// One path that is passed on, as on the site's own host.
	one, target := frontProxy(t, appends, "")
	target.Store(strings.TrimPrefix(s.url, "http://"))
	if r := dachs(t, "doctor", "--data", data, "--url", one.URL+"/d.js"); r.code != exitError || !strings.Contains(r.stdout, "events are accepted at "+one.URL+"/d.js") {
		t.Errorf("%d %s\n%s", r.code, r.stderr, r.stdout)
	}
	if log := s.stderr.String(); strings.Contains(log, proxyAddr) || strings.Contains(log, "192.0.2.") {
		t.Errorf("the server logs what the doctor sent: %s", log)
	}
}

// TestCheckup asks as the doctor does, and as others do that would like to know how requests arrive.
func TestCheckup(t *testing.T) {
	db, err := storage.Open(t.TempDir(), storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tr, err := tracker.New(tracker.Options{Store: db})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	now := time.Now()
	c := &checkup{proxies: proxies{header: "X-Forwarded-For"}, tracker: tr, now: func() time.Time { return now }}
	passed := false
	handler := c.before(func(*fasthttp.RequestCtx) { passed = true })
	ask := func(secret string) bool {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI("/d.js?" + checkupArg + "=" + secret)
		passed = false
		handler(&ctx)
		return !passed && strings.Contains(string(ctx.Response.Body()), `"peer"`)
	}
	if ask("") || ask("x") {
		t.Error("answers before it was opened")
	}
	secret := c.begin()
	if ask("") || ask("x") || ask(secret[1:]) {
		t.Error("answers without the secret")
	}
	for range checkupRequests {
		if !ask(secret) {
			t.Error("does not answer")
		}
	}
	if ask(secret) {
		t.Error("answers more often than it should")
	}
	first, second := c.begin(), c.begin()
	if ask(first) || !ask(second) {
		t.Error("the first of two is still open, or the second is not")
	}
	now = now.Add(checkupFor)
	if ask(second) || c.open.Load() != nil {
		t.Error("answers after a minute")
	}
}

// TestJudge has a line for each set-up that a proxy may have.
func TestJudge(t *testing.T) {
	const proxy, doctor = "10.0.0.1", "198.51.100.7"
	names := map[string]netip.Addr{"X-Forwarded-For": netip.MustParseAddr("192.0.2.11"), "Forwarded": netip.MustParseAddr("192.0.2.12"), "X-Real-Ip": netip.MustParseAddr("192.0.2.13")}
	see := func(trusted, spoken bool, client string, headers string) sighting {
		s := sighting{Peer: netip.MustParseAddrPort(proxy + ":4711"), Client: netip.MustParseAddr(client), Trusted: trusted, Spoken: spoken, Headers: map[string][]string{}}
		if headers != "" {
			if err := json.Unmarshal([]byte(headers), &s.Headers); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	const (
		named    = `{"X-Forwarded-For":["198.51.100.7"]}`
		appended = `{"X-Forwarded-For":["192.0.2.11, 198.51.100.7"]}`
		passed   = `{"X-Forwarded-For":["192.0.2.11"],"Forwarded":["for=192.0.2.12"],"X-Real-Ip":["192.0.2.13"]}`
	)
	for name, c := range map[string]struct {
		header        string
		plain, forged sighting
		level         string
		text, remedy  string
	}{
		"replaced":                  {"X-Forwarded-For", see(true, false, doctor, named), see(true, false, doctor, named), fine, "names the client in X-Forwarded-For", ""},
		"appended":                  {"X-Forwarded-For", see(true, false, doctor, named), see(true, false, doctor, appended), fine, "names the client in X-Forwarded-For", ""},
		"passed on":                 {"X-Forwarded-For", see(true, false, proxy, ""), see(true, false, "192.0.2.11", passed), wrong, "anybody can choose", setHeader},
		"set if there is none":      {"X-Forwarded-For", see(true, false, doctor, named), see(true, false, "192.0.2.11", `{"X-Forwarded-For":["192.0.2.11"]}`), wrong, "anybody can choose", setHeader},
		"passed on, another is set": {"X-Forwarded-For", see(true, false, proxy, `{"X-Real-Ip":["198.51.100.7"]}`), see(true, false, "192.0.2.11", `{"X-Forwarded-For":["192.0.2.11"],"X-Real-Ip":["198.51.100.7"]}`), wrong, "anybody can choose", "set --client-header X-Real-Ip"},
		"Forwarded":                 {"Forwarded", see(true, false, doctor, `{"Forwarded":["for=198.51.100.7"]}`), see(true, false, doctor, `{"Forwarded":["for=192.0.2.12","for=198.51.100.7"]}`), fine, "names the client in Forwarded", ""},
		"the wrong header":          {"Forwarded", see(true, false, proxy, named), see(true, false, "192.0.2.12", `{"Forwarded":["for=192.0.2.12"],"X-Forwarded-For":["198.51.100.7"]}`), wrong, "anybody can choose", "set --client-header X-Forwarded-For"},
		"no header":                 {"X-Forwarded-For", see(true, false, proxy, ""), see(true, false, proxy, ""), wrong, "names nobody in X-Forwarded-For", setHeader},
		"no address in it":          {"X-Forwarded-For", see(true, false, proxy, `{"X-Forwarded-For":["unknown"]}`), see(true, false, proxy, `{"X-Forwarded-For":["unknown"]}`), wrong, "names nobody in X-Forwarded-For", setHeader},
		"not trusted":               {"X-Forwarded-For", see(false, false, proxy, named), see(false, false, proxy, appended), wrong, "not trusted", "set --trusted-proxies 10.0.0.1 (or the network of the proxy)"},
		"not trusted, no header":    {"X-Forwarded-For", see(false, false, proxy, ""), see(false, false, proxy, passed), wrong, "not trusted", "; and " + setHeader},
		"not trusted, another":      {"X-Forwarded-For", see(false, false, proxy, `{"Cf-Connecting-Ip":["198.51.100.7"]}`), see(false, false, proxy, `{"Cf-Connecting-Ip":["198.51.100.7"],"X-Forwarded-For":["192.0.2.11"]}`), wrong, "not trusted", "; and set --client-header Cf-Connecting-Ip"},
		"asked from a proxy":        {"X-Forwarded-For", see(true, false, "10.0.0.9", `{"X-Forwarded-For":["10.0.0.9"]}`), see(true, false, "192.0.2.11", `{"X-Forwarded-For":["192.0.2.11, 10.0.0.9"]}`), warning, "is itself within --trusted-proxies", "--url"},
		"PROXY":                     {"X-Forwarded-For", see(true, true, doctor, ""), see(true, true, doctor, passed), fine, "names the client in the PROXY protocol", ""},
		"PROXY for nobody":          {"X-Forwarded-For", see(true, true, "0.0.0.0", ""), see(true, true, "0.0.0.0", passed), wrong, "names nobody", "send-proxy-v2"},
		"PROXY for a proxy":         {"X-Forwarded-For", see(true, true, "10.0.0.9", ""), see(true, true, "192.0.2.11", passed), warning, "itself within --trusted-proxies", "--url"},
	} {
		v := view{header: c.header, plain: c.plain, forged: c.forged, names: names}
		got := v.judge()[0]
		if got.level != c.level || !strings.Contains(got.text, c.text) || !strings.Contains(got.remedy, c.remedy) || (got.remedy == "") != (c.remedy == "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
