package tracker

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"dachs/storage"

	"github.com/valyala/fasthttp"
)

// Clients of Umami, GoatCounter and Matomo may send here as they did there: each format is decoded into a Payload, which then
// goes the way of every other. What these formats know beyond it, and what identifies a visitor (ids of a visitor, of a
// visit, of a user), is not read. Answers are those that the clients need, and the same for hits that are dropped on purpose.

const (
	// maxBulk bounds the hits of one request. Each waits until it is stored, so this also bounds how long the request takes.
	maxBulk = 100
	// maxLate is how far the time that a hit names may lie from now. Queues and clocks that are wrong stay within it; a log
	// that is replayed does not, and would be counted as of today.
	maxLate = time.Hour
	// maxText bounds what is kept of a text that is a property, in bytes, as maxPropValue does; longer ones are cut, since a
	// peer's client would not expect a refusal.
	maxText = maxPropValue
)

// pixel is a transparent image of one point, the smallest GIF that browsers take.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// said is what a hit of a peer's format says beyond its payload.
type said struct {
	addr, userAgent string    // of the visitor; believed only with a token
	secret          string    // of a token
	at              time.Time // when it happened; zero: now
	skip            Reason    // why there is nothing to count, if not Accepted
}

// takeSaid counts the hit that a peer's decoder has left in r. Errors are those of take.
func (t *Tracker) takeSaid(ctx *fasthttp.RequestCtx, r *request) error {
	if !r.said.at.IsZero() {
		if d := t.now().Sub(r.said.at).Abs(); d > maxLate {
			return fieldError("", "is from another time; want hits within an hour, since they are counted as of now (dachs import log reads old logs)")
		}
	}
	if r.said.skip != Accepted {
		t.outcomes[r.said.skip].Add(1)
		return nil
	}
	r.client = t.client(ctx)
	if r.said.secret != "" && (r.said.addr != "" || r.said.userAgent != "") {
		if site, ok := t.site(r.payload.Domain); ok && t.mayCount(r.said.secret, site) {
			if err := r.client.believe(&r.said); err != nil {
				return err
			}
		}
	}
	return t.take(r)
}

// believe takes a hit's word for whom it is about. What the headers of the request say is then about a server.
func (c *Client) believe(s *said) error {
	known := Client{Addr: c.Addr, UserAgent: c.UserAgent}
	if s.userAgent != "" {
		known.UserAgent = s.userAgent
	}
	if s.addr != "" {
		addr, err := netip.ParseAddr(strings.TrimSpace(s.addr))
		if err != nil {
			return fieldError("ip", "is not an IP address")
		}
		known.Addr = bareAddr(addr)
	}
	*c = known
	return nil
}

// bulk is what became of the hits of one request.
type bulk struct {
	size  int
	wrong []wrongHit // the others were counted, or dropped on purpose
}

type wrongHit struct {
	index int
	err   error
}

// takeBulk counts each of n hits by itself; decode leaves one in r. The error is errOverloaded if none could be counted: then
// the request may be sent again. Once some are counted, those that cannot be stored are wrong ones, so that no hit counts twice.
func (t *Tracker) takeBulk(ctx *fasthttp.RequestCtx, r *request, n int, decode func(i int) error) (bulk, error) {
	result := bulk{size: n}
	taken := 0
	for i := range n {
		r.payload, r.client, r.said = Payload{}, Client{}, said{}
		err := decode(i)
		if err == nil {
			err = t.takeSaid(ctx, r)
		}
		switch {
		case err == nil:
			taken++
			continue
		case !errors.Is(err, errOverloaded):
			t.outcomes[Malformed].Add(1)
		case taken == 0:
			return result, err
		default:
			t.outcomes[Overloaded].Add(1)
		}
		result.wrong = append(result.wrong, wrongHit{i, err})
	}
	return result, nil
}

// checkBulk says whether a request may have n hits.
func checkBulk(n int) error {
	if n > maxBulk {
		return fieldError("", "has %d hits; want at most %d in one request", n, maxBulk)
	}
	return nil
}

// homeOf returns the host of a page of which a hit does not say the host: that of its site. Hits of unknown sites
// get one too, so that what is wrong with them is answered as for others.
func (t *Tracker) homeOf(site string) string {
	if s, ok := t.site(site); ok {
		return s.Domain
	}
	return "unknown.invalid"
}

// pageFrom returns the address of the page that a request was sent from, as its headers tell it, or "". Browsers leave out
// its path across origins.
func pageFrom(h *fasthttp.RequestHeader) string {
	for _, name := range []string{"Referer", "Origin"} {
		if page := string(h.Peek(name)); page != "" {
			if a, ok := splitURL(page); ok && (a.scheme == "http" || a.scheme == "https") {
				return page
			}
		}
	}
	return ""
}

// onHost makes a full address of a path on a host.
func onHost(host, path string) string {
	return "https://" + host + "/" + strings.TrimLeft(path, "/")
}

// tagNames are parameters of a page's query that a peer takes for the tags of a campaign, and what they are called here.
type tagNames map[string]string

// addTags repeats the tags in a page's query under the names that are read here. Those that are there already win.
func addTags(page string, names tagNames) string {
	base, fragment, hasFragment := strings.Cut(page, "#")
	_, query, _ := strings.Cut(base, "?")
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if name, ok := names[strings.ToLower(key)]; ok && value != "" {
			base += "&" + name + "=" + value
		}
	}
	if hasFragment {
		base += "#" + fragment
	}
	return base
}

// joinQuery adds parameters to a page's address, behind those that are there.
func joinQuery(page, query string) string {
	if strings.Contains(page, "?") {
		return page + "&" + query
	}
	return page + "?" + query
}

// eventName cleans the name of an event, or says what is wrong with it. A peer's event is one whatever it is called.
func eventName(field, name string) (string, error) {
	switch name {
	case storage.PageViewName:
		name = "Pageview"
	case engagementName:
		name = "Engagement"
	}
	return checkName(field, name)
}

// widthOf reads the width of a screen from a text such as "1920x1080", "1920,1080,1" or "1920"; 0 if it has none.
func widthOf(screen string) int {
	end := strings.IndexFunc(screen, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(screen)
	}
	if end > 5 { // wider than any screen
		return 0
	}
	width, err := strconv.Atoi(screen[:end])
	if err != nil {
		return 0
	}
	return width
}

// addProp adds a property to an event. An empty one is none; what goes beyond the limits is cut or dropped.
func addProp(p *Payload, key, value string) {
	key, value = oneLine(key), strings.TrimSpace(truncate(strings.ToValidUTF8(value, "\uFFFD"), maxText))
	if key != "" && value != "" && len(key) <= maxPropKey && len(p.Props) < maxProps {
		p.Props = append(p.Props, Prop{key, value})
	}
}

// checkSite says whether the name of a site may be one.
func checkSite(field, name string) (string, error) {
	if name = strings.TrimSpace(name); name == "" {
		return "", fieldError(field, "is missing; want the id of the site, which is an alias of it here")
	}
	if len(name) > maxDomain || strings.Contains(name, ",") {
		return "", fieldError(field, "is not the id of one site")
	}
	return name, nil
}

// parseTime reads a time as peers' clients write it: seconds since 1970, RFC 3339, or a date and time in UTC.
func parseTime(field, s string) (time.Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fieldError(field, "is not a time; want seconds since 1970, or one such as 2026-01-31T15:04:05Z")
}

// answerPixel answers with an image. Pages with a policy against foreign resources take it too.
func answerPixel(ctx *fasthttp.RequestCtx, status int) {
	ctx.Response.Header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	ctx.SetStatusCode(status)
	ctx.SetContentType("image/gif")
	ctx.SetBodyString(pixel)
}

func noStore(ctx *fasthttp.RequestCtx) { ctx.Response.Header.Set("Cache-Control", "no-store") }

// statusOf counts an error of a whole request as an outcome, and returns the status to answer it with.
func (t *Tracker) statusOf(ctx *fasthttp.RequestCtx, err error) int {
	if errors.Is(err, errOverloaded) {
		t.outcomes[Overloaded].Add(1)
		ctx.Response.Header.Set("Retry-After", retryAfter)
		return fasthttp.StatusServiceUnavailable
	}
	t.outcomes[Malformed].Add(1)
	return fasthttp.StatusBadRequest
}

// siteOf returns the site that a secret may count for.
func (t *Tracker) siteOf(secret string) (storage.Site, bool) {
	if secret == "" || len(secret) > maxSecret {
		return storage.Site{}, false
	}
	token, err := t.store.TokenOf(secret)
	if err != nil || !token.May(storage.ScopeCount) {
		return storage.Site{}, false
	}
	return t.store.SiteByID(token.Site)
}
