package main

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"dachs/tracker"

	"github.com/pires/go-proxyproto"
)

// proxyFlags say whose word on a visitor's address is believed.
type proxyFlags struct {
	TrustedProxies []string `help:"Proxies that are believed when they name the visitor's address: networks or addresses, separated by commas." env:"DACHS_TRUSTED_PROXIES" placeholder:"CIDR"`
	ClientHeader   string   `help:"The one header in which they name it, such as Forwarded, X-Real-IP or CF-Connecting-IP (default X-Forwarded-For)." env:"DACHS_CLIENT_HEADER" placeholder:"NAME"`
	ProxyProtocol  bool     `help:"Trusted proxies begin each connection with the PROXY protocol, version 1 or 2." env:"DACHS_PROXY_PROTOCOL"`
}

// proxies is what the flags mean.
type proxies struct {
	networks []netip.Prefix
	header   string
	protocol bool
	wait     time.Duration // for the beginning of a connection
}

// parse reads the flags. A flag that has no effect is an error: whoever set it thinks that it has.
func (f proxyFlags) parse() (proxies, error) {
	networks, err := parsePrefixes(f.TrustedProxies)
	if err != nil {
		return proxies{}, err
	}
	header, err := tracker.CleanClientHeader(f.ClientHeader)
	if err != nil {
		return proxies{}, usagef("--client-header: %w", err)
	}
	if len(networks) == 0 {
		const remedy = "name the proxy with --trusted-proxies; `dachs doctor` shows which one it is"
		switch {
		case f.ClientHeader != "":
			return proxies{}, usagef("--client-header %s: is believed only from trusted proxies, and there are none; %s", header, remedy)
		case f.ProxyProtocol:
			return proxies{}, usagef("--proxy-protocol: is spoken only by trusted proxies, and there are none; %s", remedy)
		}
	}
	return proxies{networks, header, f.ProxyProtocol, proxyHeaderTimeout}, nil
}

// proxyHeaderTimeout bounds how long a proxy may take for the first line of a connection. It has it ready when it connects.
const proxyHeaderTimeout = 5 * time.Second

// listen makes connections of trusted proxies tell whom they are made for, if the PROXY protocol is spoken. Such a
// connection has to begin with it, since the protocol forbids to guess: what a client sends first could look like it. Other
// peers cannot speak it; to them it is a malformed request.
func (p proxies) listen(ln net.Listener) net.Listener {
	if !p.protocol {
		return ln
	}
	return proxyListener{&proxyproto.Listener{
		Listener:          ln,
		ReadHeaderTimeout: p.wait,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if tcp, ok := o.Upstream.(*net.TCPAddr); ok && p.trust(tcp.AddrPort().Addr().Unmap().WithZone("")) {
				return proxyproto.REQUIRE, nil
			}
			return proxyproto.SKIP, nil
		},
	}}
}

func (p proxies) trust(addr netip.Addr) bool {
	return slices.ContainsFunc(p.networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// dial connects to the public port of this machine, in its own name where that has to be said first.
func (p proxies) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil || !p.protocol {
		return conn, err
	}
	if tcp, ok := conn.LocalAddr().(*net.TCPAddr); ok && p.trust(tcp.AddrPort().Addr().Unmap().WithZone("")) {
		if _, err := io.WriteString(conn, "PROXY UNKNOWN\r\n"); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// proxyListener marks the connections for which a proxy names nobody.
type proxyListener struct{ net.Listener }

// Accept implements net.Listener. It does not wait for what the peer sends.
func (l proxyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if spoken, ok := conn.(*proxyproto.Conn); ok {
		return proxyConn{spoken}, err
	}
	return conn, err
}

// proxyConn is a connection of a trusted proxy.
type proxyConn struct{ *proxyproto.Conn }

// RemoteAddr returns whom the proxy names. If it names nobody (v1's UNKNOWN, v2's LOCAL and UNSPEC), that is no address
// and not the proxy's own: the proxy's is trusted, and the request's headers may be those of anybody.
func (c proxyConn) RemoteAddr() net.Addr {
	if h := c.ProxyHeader(); h != nil && !h.Command.IsLocal() {
		if tcp, ok := h.SourceAddr.(*net.TCPAddr); ok {
			return tcp
		}
	}
	return &net.TCPAddr{IP: net.IPv4zero}
}
