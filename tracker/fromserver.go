package tracker

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// errToken never says whether it is the token or the site that is unknown.
var errToken error = &FieldError{"token", "does not count for this site; make one with `dachs token create --site DOMAIN --count`"}

// speakFor puts the visitor for whom a server counts into c, if the request carries a token. Without one nothing is
// believed and nothing changed. A token that is not good for each site that the event is for is an error: counted
// under the address of the server, all its visitors would be one, and nobody would notice.
func (t *Tracker) speakFor(ctx *fasthttp.RequestCtx, domains string, c *Client) error {
	secret := bearer(ctx)
	if secret == "" {
		return nil
	}
	n := 0
	for domain := range strings.SplitSeq(domains, ",") {
		if n++; n > maxDomains {
			break
		}
		if site, ok := t.site(domain); !ok || !t.mayCount(secret, site) {
			return errToken
		}
	}
	return t.visitorOf(ctx, c)
}

// visitorOf reads the address of the visitor from the field ip of the event. For clients of Plausible's API it
// reads the first entry of X-Forwarded-For where that field is not sent; proxies on the way may have replaced that header.
func (t *Tracker) visitorOf(ctx *fasthttp.RequestCtx, c *Client) error {
	parser := t.parsers.Get()
	defer t.parsers.Put(parser)
	v, err := parser.ParseBytes(ctx.PostBody()) // for the second time, which only servers pay for
	if err != nil {
		return fieldError("", "is not JSON")
	}
	if ip := field(v, "ip"); ip != nil {
		address, _ := text(ip)
		addr, err := netip.ParseAddr(strings.TrimSpace(address))
		if err != nil {
			return fieldError("ip", "is not an address; want the visitor's IPv4 or IPv6 address as a string")
		}
		c.Addr = bareAddr(addr)
		return nil
	}
	first, _, _ := bytes.Cut(ctx.Request.Header.Peek(DefaultClientHeader), []byte(","))
	if addr, ok := parseNode(first); ok {
		c.Addr = addr
	}
	return nil
}
