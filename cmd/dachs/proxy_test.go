package main

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dachs/storage"
	"dachs/tracker"
)

// whoServer is the public server behind its listener, with a page that says whom it takes for the client.
func whoServer(t *testing.T, p proxies) (addr string) {
	t.Helper()
	db, err := storage.Open(t.TempDir(), storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := tracker.New(tracker.Options{Store: db, TrustedProxies: p.networks, ClientHeader: p.header})
	if err != nil {
		t.Fatal(err)
	}
	srv := newPublicServer(tr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		io.WriteString(w, host)
	}), slog.New(slog.DiscardHandler))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln = p.listen(ln)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Shutdown()
		if err := <-served; err != nil {
			t.Error(err)
		}
		tr.Close()
		db.Close()
	})
	return ln.Addr().String()
}

// speaking are proxies that speak the PROXY protocol.
func speaking(networks ...string) proxies {
	p := proxies{protocol: true, wait: time.Minute}
	for _, n := range networks {
		p.networks = append(p.networks, netip.MustParsePrefix(n))
	}
	return p
}

// dialFrom connects from an address of this machine.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", to)
	if err != nil {
		t.Skipf("this machine has no %s: %v", from, err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second)) // bounds a failing test
	return conn
}

const (
	v2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	whoRequest  = "GET /login HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n"
)

// TestProxyProtocol writes bytes as proxies and others write them, and asks twice on each connection who the client is.
func TestProxyProtocol(t *testing.T) {
	addr := whoServer(t, speaking("127.0.0.1/32", "10.0.0.0/8"))
	const proxy, other = "127.0.0.1", "127.0.0.2"
	for name, c := range map[string]struct{ from, first, want string }{
		"v1 IPv4":                    {proxy, "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n", "198.51.100.7"},
		"v1 IPv6":                    {proxy, "PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", "2001:db8::1"},
		"v2 IPv4":                    {proxy, v2Signature + "\x21\x11\x00\x0c\xc6\x33\x64\x07\xcb\x00\x71\x01\x12\x67\x01\xbb", "198.51.100.7"},
		"v2 IPv4 and a TLV":          {proxy, v2Signature + "\x21\x11\x00\x10\xc6\x33\x64\x07\xcb\x00\x71\x01\x12\x67\x01\xbb\x04\x00\x01x", "198.51.100.7"},
		"v2 IPv6":                    {proxy, v2Signature + "\x21\x21\x00\x24\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x00", 16) + "\x12\x67\x01\xbb", "2001:db8::1"},
		"v1 of another proxy":        {proxy, "PROXY TCP4 10.1.1.1 203.0.113.1 4711 443\r\n", "192.0.2.66"}, // which names the client in its header
		"v1 unknown":                 {proxy, "PROXY UNKNOWN\r\n", "0.0.0.0"},                               // and not what the header says
		"v2 local":                   {proxy, v2Signature + "\x20\x00\x00\x00", "0.0.0.0"},
		"v2 unix":                    {proxy, v2Signature + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), "0.0.0.0"},
		"v2 UDP":                     {proxy, v2Signature + "\x21\x12\x00\x0c\xc6\x33\x64\x07\xcb\x00\x71\x01\x12\x67\x01\xbb", "0.0.0.0"},
		"none":                       {proxy, "", "closed"},
		"v1 twice":                   {proxy, "PROXY TCP4 198.51.100.7 203.0.113.1 1 1\r\nPROXY TCP4 198.51.100.8 203.0.113.1 1 1\r\n", "malformed request"},
		"v1 without an address":      {proxy, "PROXY TCP4\r\n", "closed"},
		"v1 with a name":             {proxy, "PROXY TCP4 localhost 203.0.113.1 4711 443\r\n", "closed"},
		"v1 too long":                {proxy, "PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n", "closed"},
		"v1 without its end":         {proxy, "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\n", "closed"},
		"v2 too short":               {proxy, v2Signature + "\x21\x11\x00\x04\xc6\x33\x64\x07", "closed"},
		"v2 of an unknown kind":      {proxy, v2Signature + "\x21\x13\x00\x0c\xc6\x33\x64\x07\xcb\x00\x71\x01\x12\x67\x01\xbb", "closed"},
		"from a peer":                {other, "", "127.0.0.2"},
		"v1 from a peer":             {other, "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n", "malformed request"},
		"v2 from a peer":             {other, v2Signature + "\x21\x11\x00\x0c\xc6\x33\x64\x07\xcb\x00\x71\x01\x12\x67\x01\xbb", "malformed request"},
		"v1 unknown, that is a peer": {other, "PROXY UNKNOWN\r\n", "malformed request"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialFrom(t, c.from, addr)
			if _, err := io.WriteString(conn, c.first); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewReader(conn)
			for range 2 {
				io.WriteString(conn, whoRequest) // fails where the server has closed: the answer shows it
				got := "closed"
				if resp, err := http.ReadResponse(answers, nil); err == nil {
					body, _ := io.ReadAll(resp.Body)
					got = string(body)
				} else if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("no answer")
				}
				if got != c.want {
					t.Errorf("client is %q, want %q", got, c.want)
				}
				if got == "closed" || got == "malformed request" {
					return
				}
			}
		})
	}
}

// TestProxyProtocolThatStops holds connections open that never say whom they are for: others are served meanwhile, and in the
// end the server closes them, also one that sends a byte now and then.
func TestProxyProtocolThatStops(t *testing.T) {
	p := speaking("127.0.0.1/32")
	p.wait = 200 * time.Millisecond
	addr := whoServer(t, p)
	var stuck []net.Conn
	for _, begin := range []string{"", "P", "PROXY", "PROXY TCP4 198.51", v2Signature, v2Signature + "\x21\x11\x00\x0c\xc6\x33"} {
		conn := dialFrom(t, "127.0.0.1", addr)
		conn.SetDeadline(time.Now().Add(readTimeout - 2*time.Second)) // or it would be that limit which ends it
		io.WriteString(conn, begin)
		stuck = append(stuck, conn)
	}
	good := dialFrom(t, "127.0.0.1", addr)
	io.WriteString(good, "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n"+whoRequest)
	resp, err := http.ReadResponse(bufio.NewReader(good), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "198.51.100.7" {
		t.Errorf("client is %s", body)
	}
	for i, conn := range stuck {
		if n, err := io.Copy(io.Discard, conn); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d: %d bytes, %v; want it closed", i, n, err)
		}
	}
}

// TestProxyProtocolHealth asks a server for its health that takes this machine for a proxy, and one that does not.
func TestProxyProtocolHealth(t *testing.T) {
	for _, network := range []string{"127.0.0.1/32", "10.0.0.0/8"} {
		addr := whoServer(t, speaking(network))
		args := []string{"healthcheck", "--listen", addr, "--trusted-proxies", network}
		if out := must(t, append(args, "--proxy-protocol")...); out != "ok\n" {
			t.Errorf("%s: healthcheck prints %q", network, out)
		}
		if r := dachs(t, args...); (r.code == exitOK) != (network == "10.0.0.0/8") {
			t.Errorf("%s: healthcheck that does not speak the protocol: %d %s", network, r.code, r.stderr)
		}
	}
}

// TestRealProxies sends a visitor's forged headers through real proxies: one that replaces the header, one that appends
// to it, and one that passes on what the client wrote.
func TestRealProxies(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(r *httputil.ProxyRequest)
		header string
		want   string
	}{
		"replaces": {func(r *httputil.ProxyRequest) { r.Out.Header.Del("X-Forwarded-For"); r.SetXForwarded() }, "", "127.0.0.1"},
		"appends": {func(r *httputil.ProxyRequest) {
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
		}, "", "127.0.0.1"},
		"passes it on":  {func(r *httputil.ProxyRequest) { r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"] }, "", "192.0.2.66"},
		"knows another": {func(r *httputil.ProxyRequest) { r.Out.Header.Set("X-Real-Ip", "198.51.100.7") }, "X-Real-Ip", "198.51.100.7"},
		"knows another, and passes this on": {func(r *httputil.ProxyRequest) {
			r.Out.Header["Forwarded"] = r.In.Header["Forwarded"]
			r.Out.Header.Add("Forwarded", `for="[2001:db8::1]:5";proto=https`)
		}, "Forwarded", "2001:db8::1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := proxies{networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, header: c.header}
			target := &url.URL{Scheme: "http", Host: whoServer(t, p)}
			front := httptest.NewServer(&httputil.ReverseProxy{
				Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); c.set(r) },
				Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}).DialContext,
					DisableKeepAlives: true},
			})
			defer front.Close()
			req, err := http.NewRequest(http.MethodGet, front.URL+"/login", nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"X-Forwarded-For": "192.0.2.66", "Forwarded": "for=192.0.2.66", "X-Real-Ip": "192.0.2.66"} {
				req.Header.Set(name, value)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, _ := io.ReadAll(resp.Body); string(body) != c.want {
				t.Errorf("client is %s, want %s", body, c.want)
			}
		})
	}
}

// TestProxySettings reads all three from the file.
func TestProxySettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dachs.toml")
	writeFile(t, file, "trusted-proxies = [\"127.0.0.1\"]\nclient-header = \"x-real-ip\"\nproxy-protocol = true\n")
	addr := whoServer(t, speaking("127.0.0.1/32"))
	if out := must(t, "--config", file, "healthcheck", "--listen", addr); out != "ok\n" {
		t.Errorf("healthcheck prints %q", out)
	}
}
