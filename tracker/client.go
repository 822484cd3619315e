package tracker

import (
	"bytes"
	"fmt"
	"net/netip"
	"net/textproto"
	"strings"
)

const (
	// DefaultClientHeader is the header that trusted proxies name the client in, unless another one is configured.
	DefaultClientHeader = "X-Forwarded-For"
	// forwardedHeader is the one of RFC 7239, the only one with a syntax of its own.
	forwardedHeader = "Forwarded"
)

// Proxies says whose word on the client's address is believed, and in which one header. The zero value believes nobody.
//
// It is one header and no order of several, since a proxy sets the one that it knows and passes on all others as the
// client had written them: who may choose between two headers can choose the one that a client forges.
type Proxies struct {
	networks []netip.Prefix
	header   string // empty: DefaultClientHeader
}

// CleanClientHeader brings the name of a header to the form in which it is compared, or says what is wrong with it.
func CleanClientHeader(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return DefaultClientHeader, nil
	}
	for i := range len(name) {
		if !isToken(name[i]) {
			return "", fmt.Errorf("header %q: want the name of one header, such as X-Forwarded-For, Forwarded or X-Real-IP", name)
		}
	}
	return textproto.CanonicalMIMEHeaderKey(name), nil
}

// isToken tells whether c may be in a token of HTTP (RFC 9110, section 5.6.2).
func isToken(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// name returns the header that is believed.
func (p *Proxies) name() string {
	if p.header == "" {
		return DefaultClientHeader
	}
	return p.header
}

// trusts tells whether addr is that of a trusted proxy.
func (p *Proxies) trusts(addr netip.Addr) bool {
	for _, network := range p.networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// client returns the address of the client behind the connection's peer. values are those of the one header that is
// believed, in their order, each a list.
//
// Anybody can write anything into that header, and every proxy appends the peer that it saw. So the list is
// read from the right for as long as a trusted proxy has written the entry: the first one that is no trusted
// proxy itself is the client. An entry that is no address ends the reading at the last one that was.
func (p *Proxies) client(peer netip.Addr, values ...[]byte) netip.Addr {
	client := bareAddr(peer)
	standard := p.header == forwardedHeader
	for i := len(values) - 1; i >= 0; i-- {
		rest := values[i]
		for more := true; more; {
			if !p.trusts(client) {
				return client
			}
			var entry []byte
			var addr netip.Addr
			var ok bool
			if standard {
				rest, entry, more = cutLast(rest, ',')
				addr, ok = forwardedFor(entry)
			} else {
				cut := bytes.LastIndexByte(rest, ',')
				entry, rest, more = rest[cut+1:], rest[:max(cut, 0)], cut >= 0
				addr, ok = parseNode(entry)
			}
			if !ok {
				return client
			}
			client = addr
		}
	}
	return client
}

// parseNode reads an address, which some proxies write with brackets or a port. The port may be anything: RFC 7239 lets a
// proxy hide it.
func parseNode(s []byte) (netip.Addr, bool) {
	s = bytes.Trim(s, " \t")
	if inner, found := bytes.CutPrefix(s, []byte("[")); found {
		inner, after, closed := bytes.Cut(inner, []byte("]"))
		if !closed || len(after) > 0 && after[0] != ':' {
			return netip.Addr{}, false
		}
		s = inner
	} else if bytes.Count(s, []byte(":")) == 1 {
		s, _, _ = bytes.Cut(s, []byte(":"))
	}
	if len(s) == 0 || len(s) > maxNode {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(string(s))
	return bareAddr(addr), err == nil
}

// maxNode is longer than any address with a zone that a proxy has reason to write, in bytes.
const maxNode = 64

// bareAddr returns addr in the one form in which it is compared: IPv4 as such and without a zone.
func bareAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }
