package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"dachs/script"
	"dachs/tracker"
)

// doctorCmd is `dachs doctor`.
type doctorCmd struct {
	URL string `help:"Address by which visitors reach the server, such as https://stats.example.com, or that of the script on the site itself. Default: --base-url of the server." name:"url" placeholder:"URL"`
}

// doctorTimeout bounds each request: what takes longer is broken to a visitor too.
const doctorTimeout = 15 * time.Second

// examination is one run of the doctor.
type examination struct {
	info   checkupInfo
	target *url.URL // of the script as visitors fetch it
	path   bool     // the operator has named the script itself; only its path can be taken to be passed on
	http   *http.Client
	found  []finding
}

// Run asks the running server to watch, and sends requests through the operator's own address. It opens no other connection.
func (c *doctorCmd) Run(ctx context.Context, a *app) error {
	there, err := findData(a.data)
	if err != nil {
		return err
	}
	if conn, err := dialAdmin(ctx, a.data); err == nil {
		conn.Close()
	} else if !there || noServer(err) {
		return fmt.Errorf("ask the server: none runs on %s; start it, then run dachs doctor with the same --data", a.data)
	} else {
		return fmt.Errorf("ask the server: %w; run the command as the user that the server runs as", err)
	}
	server := remoteClient(a.data)
	defer server.Close()
	e := &examination{http: &http.Client{
		Timeout: doctorTimeout,
		// Each request has a connection of its own, straight to the address: no proxy of the environment, no redirects.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if err := server.call(ctx, http.MethodPost, "/doctor", nil, &e.info); err != nil {
		return err
	}
	if e.target, e.path, err = scriptAddress(cmp.Or(c.URL, e.info.Base)); err != nil {
		return err
	}
	e.machine()
	e.public(ctx)
	return e.print(a.stdout)
}

// scriptAddress returns where visitors fetch the script. named says that base is that of the script already.
func scriptAddress(base string) (u *url.URL, named bool, err error) {
	u, err = url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, false, usagef("--url %q: want http:// or https:// and a host, such as https://stats.example.com", base)
	}
	if strings.Trim(u.Path, "/") != "" {
		return u, true, nil
	}
	u.Path = tracker.ScriptPath
	return u, false, nil
}

func (e *examination) add(level, remedy, format string, args ...any) {
	e.found = append(e.found, finding{level, fmt.Sprintf(format, args...), remedy})
}

// machine looks at what the server says of itself, and at the system.
func (e *examination) machine() {
	i := &e.info
	switch {
	case i.Health != "":
		e.add(wrong, "see the server's log", "the server cannot count: %s", i.Health)
	case i.FreeBytes > 0 && i.FreeBytes < 4*i.NeededBytes:
		e.add(warning, "free some space", "the data can be written, but only %d MiB are free; below %d hits are refused", i.FreeBytes>>20, i.NeededBytes>>20)
	case i.FreeBytes > 0:
		e.add(fine, "", "the data can be written; %.1f GiB are free", float64(i.FreeBytes)/(1<<30))
	default:
		e.add(fine, "", "the data can be written")
	}
	if i.Damaged {
		e.add(wrong, "run dachs check", "a file of the data is damaged")
	}
	if swaps, err := os.ReadFile("/proc/swaps"); err == nil {
		if lines := bytes.Count(bytes.TrimSpace(swaps), []byte("\n")); lines > 0 {
			e.add(warning, "switch it off (swapoff -a), or encrypt it with a key that is made at each start",
				"swap is on: what is in memory for a day, visitors' keys among it, may be written to the disk")
		} else {
			e.add(fine, "", "swap is off")
		}
	}
	switch i.CoreLimit {
	case "":
	case "0":
		e.add(fine, "", "core dumps are off")
	default:
		e.add(warning, "start the server with ulimit -c 0, or LimitCORE=0 in systemd", "core dumps are on (limit %s): a crash would write the memory to the disk", i.CoreLimit)
	}
}

// public looks at the server as visitors do.
func (e *examination) public(ctx context.Context) {
	host := e.target.Hostname()
	if _, err := netip.ParseAddr(host); err != nil {
		if addrs, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
			e.add(wrong, "make an entry for the name, or correct it", "the name %s has no address", host)
			return
		} else {
			slices.Sort(addrs)
			e.add(fine, "", "%s is %s", host, strings.Join(addrs, ", "))
		}
	}
	v := view{header: e.info.Header}
	var ok bool
	if v.plain, v.direct, ok = e.look(ctx, nil); !ok {
		return
	}
	ip, _ := netip.ParseAddr(host)
	switch {
	case e.target.Scheme == "https":
		e.add(fine, "", "https works, with a certificate that is trusted here")
	case host == anyHost || ip.IsLoopback():
		e.add(warning, "name the address that visitors use with --url, or set --base-url", "%s is an address of this machine alone", e.target.Host)
	default:
		e.add(warning, "put a proxy with a certificate in front, and set --base-url https://...", "without https anybody on the way can read what visitors look at")
	}
	e.forge(ctx, &v)
	e.found = append(e.found, v.judge()...)
	e.script(ctx)
	e.event(ctx)
	e.metrics(ctx)
}

// look sends a request that the server describes. direct says that the connection of this process is the one that the server
// saw.
func (e *examination) look(ctx context.Context, header http.Header) (s sighting, direct, ok bool) {
	at := *e.target
	at.RawQuery = url.Values{checkupArg: {e.info.Secret}}.Encode()
	var local net.Addr
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { local = i.Conn.LocalAddr() }})
	status, _, body, err := e.request(ctx, http.MethodPost, at.String(), header)
	unknown := new(x509.UnknownAuthorityError)
	switch {
	case err != nil && header != nil: // the caller says what that means
		return s, false, false
	case errors.As(err, unknown):
		e.add(wrong, "let the proxy send the whole chain; in a container without certificates, run the command outside or set SSL_CERT_FILE",
			"the certificate of %s is not signed by anybody known here", e.target.Host)
		return s, false, false
	case err != nil:
		e.add(wrong, "is the proxy running, and the certificate right?", "%s does not answer: %s", e.target.Host, rootCause(err))
		return s, false, false
	}
	if status == http.StatusOK && json.Unmarshal(body, &s) == nil && s.Peer.IsValid() {
		tcp, isTCP := local.(*net.TCPAddr)
		direct = isTCP && s.Peer == netip.AddrPortFrom(tcp.AddrPort().Addr().Unmap().WithZone(""), tcp.AddrPort().Port())
		return s, direct, true
	}
	if header != nil {
		return s, false, false
	}
	switch {
	case status >= 300 && status < 400:
		e.add(wrong, "name the address that it leads to with --url, and in --base-url", "%s leads elsewhere (status %d)", e.target, status)
	case status >= 500 && e.info.ProxyProtocol:
		e.add(wrong, "let the proxy speak the PROXY protocol to "+e.info.Listen+", or drop --proxy-protocol",
			"the proxy does not reach the server (status %d), which expects the PROXY protocol from it", status)
	case status >= 500:
		e.add(wrong, "let it pass requests on to "+e.info.Listen, "the proxy does not reach the server (status %d)", status)
	default:
		e.add(wrong, "let the proxy pass on "+e.target.Path+" with GET, POST and its query to "+e.info.Listen,
			"%s answers with status %d, but the answer is not that of this server", e.target, status)
	}
	return s, false, false
}

// forge asks again as somebody who does not exist, in each header that a proxy may pass on.
func (e *examination) forge(ctx context.Context, v *view) {
	v.names = make(map[string]netip.Addr)
	header := make(http.Header)
	// Addresses for documentation (RFC 5737), a different one in each header. Cloudflare's own header is refused by Cloudflare.
	addr := netip.AddrFrom4([4]byte{192, 0, 2, 10})
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", v.header} {
		if _, done := v.names[name]; done || name == "Cf-Connecting-Ip" {
			continue
		}
		addr = addr.Next()
		v.names[name] = addr
		value := addr.String()
		if name == "Forwarded" {
			value = "for=" + value
		}
		header[name] = []string{value}
	}
	var ok bool
	if v.forged, _, ok = e.look(ctx, header); !ok {
		e.add(fine, "", "the proxy refuses requests with forged headers")
		v.forged, v.names = v.plain, nil
	}
}

// request sends one request and returns the beginning of the answer.
func (e *examination) request(ctx context.Context, method, at string, header http.Header) (status int, answered http.Header, body []byte, err error) {
	var send io.Reader
	if method == http.MethodPost {
		send = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(ctx, method, at, send)
	if err != nil {
		return 0, nil, nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (dachs doctor)")
	resp, err := e.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAdminBody))
	return resp.StatusCode, resp.Header, body, err
}

// clockOff is how much the clocks of proxy and server may differ before it is worth a word. Hits are counted by the server's.
const clockOff = time.Minute

// script fetches the script.
func (e *examination) script(ctx context.Context) {
	status, header, body, err := e.request(ctx, http.MethodGet, e.target.String(), nil)
	switch {
	case err != nil || status != http.StatusOK:
		e.add(wrong, "let the proxy pass on "+e.target.Path, "the script cannot be fetched from %s (status %d)", e.target, status)
	case !bytes.Equal(body, script.Bytes()):
		e.add(wrong, "let the proxy pass it on as it is, and empty its cache", "the script at %s is not the one of this version", e.target)
	default:
		e.add(fine, "", "the script is at %s", e.target)
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		if off := date.Sub(e.info.Time).Round(time.Second); off.Abs() > clockOff {
			e.add(warning, "set the clocks, with NTP", "the clock of %s is %s off that of the server", e.target.Host, off)
		}
	}
}

// event sends what the script sends, for somebody who does not want to be counted: it is accepted, and nothing is counted.
func (e *examination) event(ctx context.Context) {
	at := *e.target
	if !e.path {
		at.Path = tracker.EventPath
	}
	status, header, _, err := e.request(ctx, http.MethodPost, at.String(), http.Header{"Sec-Gpc": {"1"}, "Origin": {"https://example.com"}})
	switch {
	case err != nil || status != http.StatusAccepted:
		e.add(wrong, "let the proxy pass on "+at.Path+" with POST", "events are not accepted at %s (status %d)", &at, status)
	case !slices.Equal(header.Values("Access-Control-Allow-Origin"), []string{"*"}):
		e.add(wrong, "let the proxy leave Access-Control-Allow-Origin as it is", "events are accepted at %s, but pages of other hosts may not send them", &at)
	default:
		e.add(fine, "", "events are accepted at %s", &at)
	}
}

// metrics looks whether everybody can read the metrics.
func (e *examination) metrics(ctx context.Context) {
	if e.path {
		return
	}
	at := *e.target
	at.Path = tracker.MetricsPath
	if status, _, _, err := e.request(ctx, http.MethodGet, at.String(), nil); err == nil && status == http.StatusOK {
		e.add(warning, "let the proxy refuse that path, if the numbers are nobody's business", "everybody can read %s", &at)
	}
}

// print writes all findings, and fails if something is wrong.
func (e *examination) print(w io.Writer) error {
	bad := 0
	for _, f := range e.found {
		if f.level == wrong {
			bad++
		}
		if _, err := fmt.Fprintf(w, "%-7s  %s\n", f.level, f.text); err != nil {
			return err
		}
		if f.remedy != "" {
			if _, err := fmt.Fprintf(w, "%-7s  %s\n", "", "-> "+f.remedy); err != nil {
				return err
			}
		}
	}
	switch bad {
	case 0:
		return nil
	case 1:
		return errors.New("one thing is wrong: see above")
	}
	return fmt.Errorf("%d things are wrong: see above", bad)
}
