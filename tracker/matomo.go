package tracker

import (
	"bytes"
	"strings"

	"dachs/storage"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

// matomoTags are the names that Matomo's campaigns have beside utm_*, of today (mtm) and of old (pk).
func matomoTags() tagNames {
	return tagNames{
		"mtm_campaign": "utm_campaign", "matomo_campaign": "utm_campaign", "pk_campaign": "utm_campaign", "piwik_campaign": "utm_campaign",
		"mtm_kwd": "utm_term", "mtm_keyword": "utm_term", "matomo_kwd": "utm_term", "pk_kwd": "utm_term", "pk_keyword": "utm_term", "piwik_kwd": "utm_term",
		"mtm_source": "utm_source", "pk_source": "utm_source", "mtm_medium": "utm_medium", "pk_medium": "utm_medium",
		"mtm_content": "utm_content", "pk_content": "utm_content",
	}
}

// serveMatomo counts hits in the format of Matomo's tracking API: parameters in the query, a form in the body, or JSON with
// many queries. The script sends JSON under the type of a form, so the body itself says what it is.
func (t *Tracker) serveMatomo(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	body := bytes.TrimSpace(ctx.PostBody())
	if len(body) > 0 && body[0] == '{' {
		t.serveMatomoBulk(ctx, body)
		return
	}
	if len(body) == 0 && ctx.QueryArgs().Len() == 0 && ctx.IsGet() {
		ctx.SetContentType("text/plain; charset=utf-8")
		ctx.SetBodyString("Hits in the format of Matomo's tracking API are taken here.\n") // as installers expect
		return
	}
	args := fasthttp.AcquireArgs()
	defer fasthttp.ReleaseArgs(args)
	args.ParseBytes(body)
	for key, value := range ctx.QueryArgs().All() { // of repeated parameters the first counts
		args.AddBytesKV(key, value)
	}
	if why := objection(&ctx.Request.Header); why != Accepted {
		t.outcomes[why].Add(1)
		answerMatomo(ctx, args)
		return
	}
	r := t.request()
	defer t.release(r)
	err := decodeMatomo(args, pageFrom(&ctx.Request.Header), t.homeOf, &r.payload, &r.said)
	if err == nil {
		if r.said.secret == "" {
			r.said.secret = bearer(ctx)
		}
		err = t.takeSaid(ctx, r)
	}
	if err != nil {
		answerError(ctx, t.statusOf(ctx, err), err.Error())
		return
	}
	answerMatomo(ctx, args)
}

// answerMatomo answers with an image, or without one where the client says so.
func answerMatomo(ctx *fasthttp.RequestCtx, args *fasthttp.Args) {
	if string(args.Peek("send_image")) == "0" {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	answerPixel(ctx, fasthttp.StatusOK)
}

// serveMatomoBulk counts the hits of {"requests": [...], "token_auth": ...}.
func (t *Tracker) serveMatomoBulk(ctx *fasthttp.RequestCtx, body []byte) {
	parser := t.parsers.Get()
	defer t.parsers.Put(parser)
	if why := objection(&ctx.Request.Header); why != Accepted {
		t.outcomes[why].Add(1)
		n := arrayLen(parser, body, "requests") // looks at nothing but how the answer is to look
		answerMatomoBulk(ctx, bulk{size: n}, matomoQuiet(parser, body))
		return
	}
	r := t.request()
	defer t.release(r)
	args := fasthttp.AcquireArgs()
	defer fasthttp.ReleaseArgs(args)
	requests, secret, quiet, err := parseMatomoBulk(parser, body)
	var result bulk
	if err == nil {
		if secret == "" {
			secret = bearer(ctx)
		}
		from := pageFrom(&ctx.Request.Header)
		result, err = t.takeBulk(ctx, r, len(requests), func(i int) error {
			if err := matomoArgs(requests[i], args); err != nil {
				return err
			}
			err := decodeMatomo(args, from, t.homeOf, &r.payload, &r.said)
			if r.said.secret == "" {
				r.said.secret = secret
			}
			return err
		})
	}
	if err != nil {
		status := t.statusOf(ctx, err)
		answerJSON(ctx, status, encode(matomoBulk{Status: "error", Message: err.Error(), InvalidIndices: []int{}}))
		return
	}
	answerMatomoBulk(ctx, result, quiet)
}

// matomoBulk is the answer to a request with many hits.
type matomoBulk struct {
	Status         string `json:"status"`
	Tracked        int    `json:"tracked"`
	Invalid        int    `json:"invalid"`
	InvalidIndices []int  `json:"invalid_indices"`
	Message        string `json:"message,omitempty"`
}

func answerMatomoBulk(ctx *fasthttp.RequestCtx, result bulk, quiet bool) {
	if quiet {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	answer := matomoBulk{Status: "success", Tracked: result.size - len(result.wrong), Invalid: len(result.wrong), InvalidIndices: []int{}}
	for _, w := range result.wrong {
		answer.InvalidIndices = append(answer.InvalidIndices, w.index)
	}
	answerJSON(ctx, fasthttp.StatusOK, encode(answer))
}

func parseMatomoBulk(p *fastjson.Parser, body []byte) (requests []*fastjson.Value, secret string, quiet bool, err error) {
	v, err := parseJSON(p, body)
	if err != nil {
		return nil, "", false, err
	}
	list := v.Get("requests")
	if list == nil || list.Type() != fastjson.TypeArray || len(list.GetArray()) == 0 {
		return nil, "", false, fieldError("requests", "is missing or no array of queries")
	}
	if secret, err = optionalText(v, "token_auth"); err != nil {
		return nil, "", false, err
	}
	return list.GetArray(), secret, isOff(v.Get("send_image")), checkBulk(len(list.GetArray()))
}

// matomoQuiet tells whether the client of a bulk request wants no answer.
func matomoQuiet(p *fastjson.Parser, body []byte) bool {
	v, err := parseJSON(p, body)
	return err == nil && isOff(v.Get("send_image"))
}

// isOff tells whether a flag is there and 0, "0", "" or false.
func isOff(v *fastjson.Value) bool {
	if v == nil {
		return false
	}
	switch s := decimalText(v); v.Type() {
	case fastjson.TypeFalse:
		return true
	case fastjson.TypeString:
		return s == "" || s == "0"
	case fastjson.TypeNumber:
		return s == "0"
	}
	return false
}

// matomoArgs reads one of many hits: a query, with or without an address before it, or an object of parameters.
func matomoArgs(v *fastjson.Value, into *fasthttp.Args) error {
	into.Reset()
	switch v.Type() {
	case fastjson.TypeString:
		query := v.GetStringBytes()
		if i := bytes.IndexByte(query, '?'); i >= 0 && bytes.IndexByte(query[:i], '=') < 0 {
			query = query[i+1:]
		}
		into.ParseBytes(query)
		return nil
	case fastjson.TypeObject:
		v.GetObject().Visit(func(key []byte, value *fastjson.Value) {
			switch value.Type() {
			case fastjson.TypeString:
				into.AddBytesKV(key, value.GetStringBytes())
			case fastjson.TypeNumber:
				into.AddBytesKV(key, value.MarshalTo(nil))
			}
		})
		return nil
	}
	return fieldError("", "is %s; want a query such as ?idsite=1&rec=1&url=https%%3A%%2F%%2Fexample.com%%2F", article(v.Type()))
}

// decodeMatomo reads the parameters of one hit. from is the page that sends, "" if that is unknown; home gives the host of a page
// by the name of its site. Errors are *FieldError.
func decodeMatomo(a *fasthttp.Args, from string, home func(site string) string, out *Payload, s *said) (err error) {
	*out, *s = Payload{Name: storage.PageViewName, Interactive: true, Scroll: -1}, said{}
	get := func(name string) string {
		return strings.TrimSpace(strings.ToValidUTF8(string(a.Peek(name)), "\uFFFD"))
	}
	if get("rec") != "1" {
		return fieldError("rec", "is missing; want 1")
	}
	if out.Domain, err = checkSite("idsite", get("idsite")); err != nil {
		return err
	}
	s.secret, s.addr, s.userAgent = get("token_auth"), get("cip"), get("ua")
	out.Language, out.Width = get("lang"), widthOf(get("res"))
	if at := get("cdt"); at != "" {
		if s.at, err = parseTime("cdt", at); err != nil {
			return err
		}
	}
	if err := matomoAction(a, get, out, s); err != nil {
		return err
	}
	page := get("url")
	if target := get("link") + get("download"); page == "" || page == target { // then it says where the link leads
		page = from
	}
	if page == "" {
		page = onHost(home(out.Domain), "")
	}
	out.Referrer = truncate(get("urlref"), maxReferrer)
	out.URL, err = checkURL("url", addTags(page, matomoTags()))
	return err
}

// matomoAction reads what somebody did: without any of these parameters they have seen a page.
func matomoAction(a *fasthttp.Args, get func(string) string, out *Payload, s *said) (err error) {
	switch {
	case get("ping") == "1":
		out.Name = engagementName // of no time: it says that the visit goes on
		return nil
	case a.Has("e_c") || a.Has("e_a"):
		if get("e_c") == "" || get("e_a") == "" {
			return fieldError("e_c", "and e_a are both wanted: the category of an event and what was done")
		}
		out.Name, err = eventName("e_a", truncateRunes(get("e_c")+": "+get("e_a"), maxName))
		addProp(out, "name", get("e_n"))
		addProp(out, "value", get("e_v"))
	case get("link") != "":
		out.Name = "Outbound Link: Click"
		addProp(out, "url", get("link"))
	case get("download") != "":
		out.Name = "File Download"
		addProp(out, "url", get("download"))
	case a.Has("search"):
		out.Name = "Site Search"
		addProp(out, "keyword", get("search"))
		addProp(out, "category", get("search_cat"))
		addProp(out, "results", get("search_count"))
	case get("idgoal") == "0" && get("ec_id") != "":
		out.Name = "Order" // its number is not read: it leads to a person
	case get("idgoal") == "0":
		out.Name = "Cart Update"
	case get("idgoal") != "":
		out.Name, err = eventName("idgoal", truncateRunes("Goal "+get("idgoal"), maxName))
	case a.Has("c_n") || a.Has("c_p") || get("ca") == "1":
		s.skip = NoHit // what was shown or clicked within a page, or something of a plug-in
		return nil
	default:
		return nil
	}
	for key, value := range a.All() {
		if n, found := bytes.CutPrefix(key, []byte("dimension")); found && len(n) > 0 && len(bytes.Trim(n, "0123456789")) == 0 {
			addProp(out, string(key), string(value))
		}
	}
	return err
}

// truncateRunes cuts s to at most n characters.
func truncateRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
