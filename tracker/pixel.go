package tracker

import (
	"errors"
	"strings"
	"unicode/utf8"

	"dachs/storage"

	"github.com/valyala/fasthttp"
)

// PixelPath is where an image is that counts a page view, for pages without scripts.
const PixelPath = "/pixel.gif"

// servePixel counts what the address of an image says of the page that shows it. The image is the same whatever becomes of the
// hit: a page can do nothing about it, and it tells nobody which sites there are.
func (t *Tracker) servePixel(ctx *fasthttp.RequestCtx) {
	if !ctx.IsGet() && !ctx.IsHead() {
		ctx.Response.Header.Set("Allow", "GET, HEAD")
		answerError(ctx, fasthttp.StatusMethodNotAllowed, "fetch the image with GET")
		return
	}
	h := &ctx.Response.Header
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	ctx.SetContentType("image/gif")
	ctx.SetBodyString(pixel)
	if ctx.IsHead() {
		return // shown to nobody
	}
	if why := objection(&ctx.Request.Header); why != Accepted {
		t.noteAll(string(ctx.QueryArgs().Peek("d")), why)
		t.outcomes[why].Add(1)
		return
	}
	r := t.request()
	defer t.release(r)
	if err := t.decodePixel(ctx, &r.payload); err != nil {
		t.outcomes[Malformed].Add(1)
		return
	}
	r.client = t.client(ctx)
	switch err := t.take(r); {
	case errors.Is(err, errOverloaded):
		t.outcomes[Overloaded].Add(1)
	case err != nil:
		t.outcomes[Malformed].Add(1)
	}
}

// decodePixel reads the parameters: d (the site), p (path and query of the page), r (referrer) and n (name of an event).
// The host of the page is that of the Referer header if it belongs to the site; of the rest of that header only the path
// is looked at, where p does not say it.
func (t *Tracker) decodePixel(ctx *fasthttp.RequestCtx, out *Payload) error {
	*out = Payload{Name: storage.PageViewName, Interactive: true, Scroll: -1}
	args := ctx.QueryArgs()
	get := func(name string) string { return strings.ToValidUTF8(string(args.Peek(name)), "\uFFFD") }
	shown, hasPage := splitURL(string(ctx.Request.Header.Referer()))
	out.Domain = strings.TrimSpace(get("d"))
	if out.Domain == "" {
		out.Domain = shown.host
	}
	if out.Domain == "" || len(out.Domain) > maxDomain {
		return fieldError("d", "is missing or too long; want the domain of the site, such as example.com")
	}
	if name := oneLine(get("n")); name != "" {
		if out.Name = name; name == engagementName || utf8.RuneCountInString(name) > maxName {
			return fieldError("n", "is no name of an event")
		}
	}
	host, path := t.pixelHost(out.Domain, shown.host), get("p")
	if path == "" && hasPage && host == shown.host {
		path = shown.path
	}
	path, _, _ = strings.Cut(path, "#")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	var err error
	if out.URL, err = checkURL("p", "https://"+host+path); err != nil {
		return err
	}
	out.Referrer = truncate(strings.TrimSpace(get("r")), maxReferrer)
	return nil
}

// pixelHost returns the host of the page that shows a pixel of the site: shown if that is the site's, below it, or allowed by its
// owner.
func (t *Tracker) pixelHost(domains, shown string) string {
	first := ""
	for domain := range strings.SplitSeq(domains, ",") {
		clean, err := storage.CleanDomain(domain)
		if err != nil {
			continue
		}
		if isBelow(shown, clean) {
			return shown
		}
		if first == "" {
			first = clean
		}
		site, _ := t.site(clean)
		for _, allowed := range site.Settings.Hosts {
			if rest, any := strings.CutPrefix(allowed, "*."); shown == allowed || any && isBelow(shown, rest) {
				return shown
			}
		}
	}
	return first
}

// isBelow tells whether host is domain, or a name below it.
func isBelow(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}
