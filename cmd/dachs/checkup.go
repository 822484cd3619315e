package main

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"dachs/tracker"

	"github.com/valyala/fasthttp"
)

const (
	// checkupFor is how long the server answers the requests of `dachs doctor` after it has asked.
	checkupFor = time.Minute
	// checkupRequests is how many. It sends two.
	checkupRequests = 4
	// checkupArg is the parameter of a query that marks them. They go to the script's own address, since some proxies pass on no
	// other.
	checkupArg = "dachs-doctor"
)

// forwardingHeaders are those in which proxies name the client: what they send is shown to the operator.
var forwardingHeaders = []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Cf-Connecting-Ip", "True-Client-Ip", "Fastly-Client-Ip", "X-Client-Ip"}

// sighting is what a request of `dachs doctor` looked like when it arrived. Only that command gets to see it.
type sighting struct {
	Peer    netip.AddrPort      `json:"peer"`   // of the connection
	Client  netip.Addr          `json:"client"` // whom the server takes it to be from
	Trusted bool                `json:"trusted"`
	Spoken  bool                `json:"spoken"` // the peer spoke the PROXY protocol
	Headers map[string][]string `json:"headers"`
}

// checkup lets `dachs doctor` see how its own requests arrive, for a minute after it has asked for that over the admin
// socket. All other requests pass by it.
type checkup struct {
	proxies proxies
	tracker *tracker.Tracker
	now     func() time.Time
	open    atomic.Pointer[openCheckup] // nil nearly always
}

type openCheckup struct {
	secret string
	until  time.Time
	left   atomic.Int32
}

// begin opens a checkup and returns the secret that marks its requests. An earlier one ends.
func (c *checkup) begin() string {
	o := &openCheckup{secret: rand.Text(), until: c.now().Add(checkupFor)}
	o.left.Store(checkupRequests)
	c.open.Store(o)
	return o.secret
}

// before answers the requests of a checkup, and hands all others to next.
func (c *checkup) before(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if o := c.open.Load(); o != nil && c.serve(ctx, o) {
			return
		}
		next(ctx)
	}
}

func (c *checkup) serve(ctx *fasthttp.RequestCtx, o *openCheckup) bool {
	if !c.now().Before(o.until) {
		c.open.CompareAndSwap(o, nil)
		return false
	}
	secret := ctx.QueryArgs().Peek(checkupArg)
	if subtle.ConstantTimeCompare(secret, []byte(o.secret)) != 1 || o.left.Add(-1) < 0 {
		return false
	}
	body, err := json.Marshal(c.see(ctx))
	if err != nil {
		panic(fmt.Sprintf("BUG: encode sighting: %v", err)) // addresses and strings
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetContentType("application/json; charset=utf-8")
	ctx.SetBody(body)
	return true
}

// see describes a request.
func (c *checkup) see(ctx *fasthttp.RequestCtx) sighting {
	s := sighting{Client: c.tracker.ClientAddr(ctx), Headers: make(map[string][]string)}
	peer := ctx.RemoteAddr()
	if conn, ok := ctx.Conn().(proxyConn); ok {
		s.Spoken, peer = true, conn.Raw().RemoteAddr()
	}
	if tcp, ok := peer.(*net.TCPAddr); ok {
		at := tcp.AddrPort()
		s.Peer = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	}
	s.Trusted = c.proxies.trust(s.Peer.Addr())
	for _, name := range append([]string{c.proxies.header}, forwardingHeaders...) {
		if _, done := s.Headers[name]; done {
			continue
		}
		for _, v := range ctx.Request.Header.PeekAll(name) {
			s.Headers[name] = append(s.Headers[name], strings.ToValidUTF8(string(v), "\uFFFD"))
		}
	}
	return s
}

// checkupInfo is the answer of POST /doctor: what the server knows of itself.
type checkupInfo struct {
	Secret        string    `json:"secret"`
	Base          string    `json:"base"`
	Listen        string    `json:"listen"`
	Header        string    `json:"header"`
	Proxies       int       `json:"proxies"` // how many networks are trusted
	ProxyProtocol bool      `json:"proxy_protocol"`
	Time          time.Time `json:"time"`
	Health        string    `json:"health,omitempty"` // why it cannot count
	FreeBytes     uint64    `json:"free_bytes"`
	NeededBytes   uint64    `json:"needed_bytes"`
	Damaged       bool      `json:"damaged"`
	CoreLimit     string    `json:"core_limit,omitempty"` // of the server's process; empty: unknown
}

// doctor opens a checkup.
func (a *admin) doctor(w http.ResponseWriter, _ *http.Request) {
	if a.checkup == nil {
		refuse(w, http.StatusConflict, errors.New("no server runs on this data: start it, then ask again"))
		return
	}
	stats := a.store.Stats()
	info := checkupInfo{
		Secret: a.checkup.begin(), Base: a.base, Listen: a.listen, Header: a.checkup.proxies.header,
		Proxies: len(a.checkup.proxies.networks), ProxyProtocol: a.checkup.proxies.protocol,
		Time: a.now(), FreeBytes: stats.FreeBytes, NeededBytes: stats.NeededBytes, Damaged: stats.Damaged, CoreLimit: coreLimit(),
	}
	if err := a.store.Health(); err != nil {
		info.Health = err.Error()
	}
	answer(w, http.StatusOK, info)
}

// coreLimit reads how large a core dump of this process may become, from Linux' /proc: "0" is none.
func coreLimit() string {
	text, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
			if fields := strings.Fields(rest); len(fields) > 0 {
				return fields[0]
			}
		}
	}
	return ""
}
