package tracker

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"dachs/storage"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

// goatTags are the parameters that GoatCounter takes for tags beside those that are read here too.
func goatTags() tagNames { return tagNames{"src": "source", "campaign": "utm_campaign"} }

// serveGoatCounter counts a hit in the format of GoatCounter's /count: everything is in the query, also with POST.
func (t *Tracker) serveGoatCounter(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	if why := objection(&ctx.Request.Header); why != Accepted {
		t.outcomes[why].Add(1)
		answerPixel(ctx, fasthttp.StatusOK)
		return
	}
	r := t.request()
	defer t.release(r)
	site := t.goatSite(ctx)
	from := pageFrom(&ctx.Request.Header)
	if from == "" {
		from = onHost(t.homeOf(site), "")
	}
	err := decodeGoatCounter(ctx.QueryArgs(), from, &r.payload, &r.said)
	if err == nil {
		r.payload.Domain = site
		err = t.takeSaid(ctx, r)
	}
	status := fasthttp.StatusOK
	if err != nil {
		status = t.statusOf(ctx, err)
		ctx.Response.Header.Set("X-Goatcounter", err.Error())
	}
	answerPixel(ctx, status)
}

// goatSite returns the name of the site that a request is for. GoatCounter goes by the host that is asked: a host of its own
// for each site, whose first label is the site's code. Where one host is for all, the page that asks says the site.
func (t *Tracker) goatSite(ctx *fasthttp.RequestCtx) string {
	host, _ := cleanHost(string(ctx.Host()))
	code, _, _ := strings.Cut(host, ".")
	for _, name := range []string{host, code} {
		if _, ok := t.site(name); ok {
			return name
		}
	}
	return hostOf(pageFrom(&ctx.Request.Header))
}

// decodeGoatCounter reads the parameters of /count. from is the page that sends: what p names is on its host. Errors are
// *FieldError.
func decodeGoatCounter(a *fasthttp.Args, from string, out *Payload, s *said) error {
	*out, *s = Payload{Name: storage.PageViewName, Interactive: true, Scroll: -1}, said{}
	get := func(name string) string { return strings.ToValidUTF8(string(a.Peek(name)), "\uFFFD") }
	event, err := goatBool("e", get("e"))
	if err != nil {
		return err
	}
	bot, err := strconv.Atoi(get("b"))
	if err != nil && get("b") != "" {
		return fieldError("b", "is not a number")
	}
	h := goatHit{path: get("p"), query: get("q"), referrer: get("r"), event: event, bot: int64(bot)}
	out.Width = widthOf(get("s"))
	return h.put("p", "b", from, out, s)
}

// goatBool reads a flag as GoatCounter's API takes them.
func goatBool(field, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "", "0", "false", "off":
		return false, nil
	case "1", "true", "on":
		return true, nil
	}
	return false, fieldError(field, "is not one of true, false, 1, 0, on, off")
}

// goatHit is what both of GoatCounter's formats have.
type goatHit struct {
	path     string // or the name of an event
	query    string // of the page: for campaigns
	referrer string // an address, or free text
	event    bool
	bot      int64 // a browser's script has found out that it is driven by a program
}

// goatScript are the values of bot that scripts may say; those below are the server's own findings.
const goatScript = 150

func (h *goatHit) put(pathField, botField, from string, out *Payload, s *said) (err error) {
	if strings.TrimSpace(h.path) == "" {
		return fieldError(pathField, "is missing; want the path of the page, or the name of an event")
	}
	if h.bot < 0 || 0 < h.bot && h.bot < goatScript {
		return fieldError(botField, "is out of range; want 0, or 150 and above")
	}
	if h.bot != 0 {
		s.skip = Bot
	}
	page := from
	if h.event {
		if out.Name, err = eventName(pathField, strings.TrimLeft(h.path, "/")); err != nil {
			return err
		}
	} else {
		page = onHost(hostOf(from), h.path)
	}
	page, _, _ = strings.Cut(page, "#")
	if query := strings.TrimLeft(h.query, "?&"); query != "" {
		page = joinQuery(page, query)
	}
	page = addTags(page, goatTags())
	if _, ok := splitURL(h.referrer); ok {
		out.Referrer = truncate(strings.TrimSpace(h.referrer), maxReferrer)
	} else if source := truncate(oneLine(h.referrer), maxTag); source != "" {
		page = joinQuery(page, "ref="+url.QueryEscape(source))
	}
	out.URL, err = checkURL(pathField, page)
	return err
}

// serveGoatCounterBulk counts the hits of GoatCounter's POST /api/v0/count. Only servers send there, with a token, which also says
// what site they count for: so answers may say what was wrong.
func (t *Tracker) serveGoatCounterBulk(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	if why := objection(&ctx.Request.Header); why != Accepted {
		t.outcomes[why].Add(1)
		answerJSON(ctx, fasthttp.StatusAccepted, goatAccepted)
		return
	}
	secret := bearer(ctx)
	site, ok := t.siteOf(secret)
	if !ok {
		t.outcomes[Malformed].Add(1)
		answerError(ctx, fasthttp.StatusUnauthorized, "want the header Authorization: Bearer TOKEN; dachs token create --count makes one")
		return
	}
	r := t.request()
	defer t.release(r)
	parser := t.parsers.Get()
	defer t.parsers.Put(parser)
	hits, err := parseGoatCounterBulk(parser, ctx.PostBody())
	var result bulk
	if err == nil {
		result, err = t.takeBulk(ctx, r, len(hits), func(i int) error {
			err := decodeGoatCounterHit(hits[i], site.Domain, &r.payload, &r.said)
			r.said.secret = secret
			return err
		})
	}
	if err != nil {
		answerError(ctx, t.statusOf(ctx, err), err.Error())
		return
	}
	answerGoatCounterBulk(ctx, result)
}

const goatAccepted = `{"status":"ok"}`

func answerGoatCounterBulk(ctx *fasthttp.RequestCtx, result bulk) {
	if len(result.wrong) == 0 {
		answerJSON(ctx, fasthttp.StatusAccepted, goatAccepted)
		return
	}
	wrong := make(map[string]string)
	for _, w := range result.wrong {
		wrong[fmt.Sprint(w.index)] = w.err.Error()
	}
	answerJSON(ctx, fasthttp.StatusBadRequest, encode(map[string]any{"errors": wrong}))
}

func parseGoatCounterBulk(p *fastjson.Parser, body []byte) ([]*fastjson.Value, error) {
	v, err := parseJSON(p, body)
	if err != nil {
		return nil, err
	}
	hits := v.Get("hits")
	if hits == nil || hits.Type() != fastjson.TypeArray || len(hits.GetArray()) == 0 {
		return nil, fieldError("hits", "is missing or no array of hits")
	}
	return hits.GetArray(), checkBulk(len(hits.GetArray()))
}

// decodeGoatCounterHit reads one hit of a bulk request. Errors are *FieldError. A visitor is told apart by address and user agent
// alone, so both are wanted: the session that a caller makes up by itself is an id of somebody, and is not read.
func decodeGoatCounterHit(v *fastjson.Value, domain string, out *Payload, s *said) (err error) {
	*out, *s = Payload{Name: storage.PageViewName, Interactive: true, Scroll: -1, Domain: domain}, said{}
	if v.Type() != fastjson.TypeObject {
		return fieldError("", "is %s; want an object with path, user_agent and ip", article(v.Type()))
	}
	var h goatHit
	var at string
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"path", &h.path}, {"query", &h.query}, {"ref", &h.referrer}, {"language", &out.Language}, {"created_at", &at},
		{"user_agent", &s.userAgent}, {"ip", &s.addr},
	} {
		if *f.to, err = optionalText(v, f.name); err != nil {
			return err
		}
	}
	if s.userAgent == "" || s.addr == "" {
		return fieldError("user_agent", "and ip are both wanted: visitors are told apart by them, in memory only")
	}
	if at != "" {
		if s.at, err = parseTime("created_at", at); err != nil {
			return err
		}
	}
	if h.event, err = goatFlag(field(v, "event")); err != nil {
		return err
	}
	if bot := field(v, "bot"); bot != nil {
		var ok bool
		if h.bot, ok = integer(bot); !ok {
			return fieldError("bot", "is %s; want a number", article(bot.Type()))
		}
	}
	out.Width = goatWidth(field(v, "size"))
	return h.put("path", "bot", onHost(domain, ""), out, s)
}

func goatFlag(v *fastjson.Value) (bool, error) {
	if v == nil {
		return false, nil
	}
	value := string(v.MarshalTo(nil))
	if v.Type() == fastjson.TypeString {
		value, _ = text(v)
	}
	return goatBool("event", value)
}

// goatWidth reads a size: [width, height, scale] or a text of them.
func goatWidth(v *fastjson.Value) int {
	if v == nil {
		return 0
	}
	if list := v.GetArray(); len(list) > 0 {
		v = list[0]
	}
	return widthOf(decimalText(v))
}
