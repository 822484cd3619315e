package tracker

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

// Limits of a payload. Those of names and properties are those of Plausible's API, so that what counts there counts here.
const (
	maxURL       = 2 << 10 // bytes without query and fragment; of these, what goes beyond is cut
	maxReferrer  = 2000    // bytes; cut
	maxName      = 120     // characters
	maxDomain    = 1000    // bytes; several domains may be listed
	maxProps     = 30      // more are dropped
	maxPropKey   = 300     // bytes
	maxPropValue = 2000    // bytes
	maxLanguage  = 35      // bytes, as RFC 5646 advises; cut
	// maxDepth is the deepest nesting that is parsed. A real payload needs two levels; the parser recurses.
	maxDepth = 16
	// maxEngaged is the longest engagement that is believed, in milliseconds: 30 days.
	maxEngaged = 30 * 24 * 3600 * 1000
)

// FieldError says which field of a payload is wrong, and how. Its text is for the person who wrote the tag.
type FieldError struct {
	Field   string // as documented, such as "url"; empty for the body as a whole
	Problem string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return "body: " + e.Problem
	}
	return e.Field + ": " + e.Problem
}

func fieldError(field, format string, args ...any) error {
	return &FieldError{field, fmt.Sprintf(format, args...)}
}

// decode reads an event in the format of Plausible's events API into out. The content type does not matter.
// Errors are *FieldError. Nothing in out shares memory with p or body.
func decode(p *fastjson.Parser, body []byte, out *Payload) error {
	*out = Payload{Interactive: true, Scroll: -1}
	if tooDeep(body) {
		return fieldError("", "is nested more than %d levels deep; want a flat JSON object", maxDepth)
	}
	v, err := p.ParseBytes(body)
	if err != nil {
		return fieldError("", "is not JSON; want an object such as {\"name\":\"pageview\",\"url\":\"https://example.com/\"}")
	}
	if v.Type() != fastjson.TypeObject {
		return fieldError("", "is %s; want an object such as {\"name\":\"pageview\",\"url\":\"https://example.com/\"}", article(v.Type()))
	}
	out.HashMode, out.OptedOut = isOn(field(v, "h", "hashMode")), isOn(v.Get("opted_out"))
	if err := decodeEvent(v, out); err != nil {
		return err
	}
	decodeBrowser(v, out)
	if i := field(v, "i", "interactive"); i != nil && i.Type() == fastjson.TypeFalse {
		out.Interactive = false
	}
	if revenue := field(v, "$", "revenue"); revenue != nil {
		out.Revenue = decodeRevenue(revenue)
	}
	if out.Name == engagementName {
		if err := decodeEngagement(v, out); err != nil {
			return err
		}
	}
	// Last, since a string of properties is parsed by p too, which ends the life of v.
	return decodeProps(p, field(v, "p", "props", "m", "meta"), out)
}

// tooDeep tells whether body nests deeper than maxDepth.
func tooDeep(body []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// field returns the value under the first of names that is there and not null, or nil.
func field(v *fastjson.Value, names ...string) *fastjson.Value {
	for _, name := range names {
		if f := v.Get(name); f != nil && f.Type() != fastjson.TypeNull {
			return f
		}
	}
	return nil
}

// article names a JSON type as in "is a number".
func article(t fastjson.Type) string {
	switch t {
	case fastjson.TypeArray, fastjson.TypeObject:
		return "an " + t.String()
	case fastjson.TypeTrue, fastjson.TypeFalse:
		return "a boolean"
	case fastjson.TypeNull:
		return "null"
	}
	return "a " + t.String()
}

// text copies a string out of the parser's buffer, with U+FFFD for what is not UTF-8.
func text(v *fastjson.Value) (string, bool) {
	b, err := v.StringBytes()
	if err != nil {
		return "", false
	}
	if utf8.Valid(b) {
		return string(b), true
	}
	return strings.ToValidUTF8(string(b), "\uFFFD"), true
}

func decodeEvent(v *fastjson.Value, out *Payload) (err error) {
	if out.Name, err = decodeName(field(v, "n", "name")); err != nil {
		return err
	}
	if out.URL, err = decodeURL(field(v, "u", "url")); err != nil {
		return err
	}
	if out.Domain, err = decodeDomain(field(v, "d", "domain"), out.URL); err != nil {
		return err
	}
	if r := field(v, "r", "referrer"); r != nil {
		referrer, _ := text(r) // of another type: none
		out.Referrer = truncate(strings.TrimSpace(referrer), maxReferrer)
	}
	return nil
}

// decodeBrowser reads what a page may say of the browser that it is shown in. What cannot be read says nothing.
func decodeBrowser(v *fastjson.Value, out *Payload) {
	if width, ok := optionalInteger(v, "w"); ok && 0 < width && width <= maxWidth {
		out.Width = int(width)
	}
	if l := field(v, "language"); l != nil {
		tag, _ := text(l) // of another type: none
		out.Language = truncate(tag, maxLanguage)
	}
}

func decodeName(v *fastjson.Value) (string, error) {
	const want = `want "pageview" or the name of an event`
	if v == nil {
		return "", fieldError("name", "is missing; %s", want)
	}
	name, ok := text(v)
	if n, err := v.Int64(); err == nil { // Plausible's API takes numbers too
		name, ok = fmt.Sprint(n), true
	}
	if !ok {
		return "", fieldError("name", "is %s; %s", article(v.Type()), want)
	}
	return checkName("name", name)
}

// checkName cleans the name of an event, or says what is wrong with it.
func checkName(field, name string) (string, error) {
	if name = oneLine(name); name == "" {
		return "", fieldError(field, "is empty; want the name of an event")
	}
	if n := utf8.RuneCountInString(name); n > maxName {
		return "", fieldError(field, "has %d characters; want at most %d", n, maxName)
	}
	return name, nil
}

func decodeURL(v *fastjson.Value) (string, error) {
	const want = "want the full address of the page, such as https://example.com/path"
	if v == nil {
		return "", fieldError("url", "is missing; %s", want)
	}
	s, ok := text(v)
	if !ok {
		return "", fieldError("url", "is %s; %s", article(v.Type()), want)
	}
	return checkURL("url", s)
}

// checkURL cleans the address of a page, or says what is wrong with it.
func checkURL(field, s string) (string, error) {
	if s = shortenURL(strings.TrimSpace(s)); len(s) > maxURL {
		return "", fieldError(field, "has more than %d bytes without its query; want less", maxURL)
	}
	if _, ok := splitURL(s); !ok {
		return "", fieldError(field, "is not the address of a web page; want the full address of the page, such as https://example.com/path")
	}
	return s, nil
}

// shortenURL cuts a URL to maxURL bytes, if that can be done without its path: whole parameters from the end of the query
// first, as advertising can hang kilobytes of them onto a page's address, and then the end of the fragment, which counts only
// for sites whose pages are told apart by it. The page view is none the less real.
func shortenURL(s string) string {
	if len(s) <= maxURL {
		return s
	}
	base, fragment := s, ""
	if i := strings.IndexByte(s, '#'); i >= 0 {
		base, fragment = s[:i], s[i:]
	}
	if question := strings.IndexByte(base, '?'); question >= 0 {
		end := max(maxURL-len(fragment), question)
		if end < len(base) {
			base = base[:question+1+max(strings.LastIndexByte(base[question+1:max(end, question+1)], '&'), 0)]
		}
	}
	return base + truncate(fragment, max(maxURL-len(base), 0))
}

// decodeDomain returns the site that the tag names, or the host of the page if it names none.
func decodeDomain(v *fastjson.Value, page string) (string, error) {
	if v == nil {
		return hostOf(page), nil
	}
	domain, ok := text(v)
	if !ok {
		return "", fieldError("domain", "is %s; want the domain of the site, such as example.com", article(v.Type()))
	}
	if domain = strings.TrimSpace(domain); domain == "" {
		return hostOf(page), nil
	}
	if len(domain) > maxDomain {
		return "", fieldError("domain", "has more than %d bytes; want the domain of the site, such as example.com", maxDomain)
	}
	return domain, nil
}

func hostOf(page string) string {
	a, _ := splitURL(page)
	return a.host
}

// isOn reads a flag that scripts send as 1.
func isOn(v *fastjson.Value) bool {
	if v == nil {
		return false
	}
	n, ok := integer(v)
	return v.Type() == fastjson.TypeTrue || ok && n == 1
}

// engagementName is the name under which the script reports time and scroll depth of a page already counted.
const engagementName = "engagement"

func decodeEngagement(v *fastjson.Value, out *Payload) error {
	engaged, timed := optionalInteger(v, "e")
	timed = timed && engaged >= 0 && engaged < maxEngaged
	if timed {
		out.Engaged = engaged
	}
	scroll, scrolled := optionalInteger(v, "sd")
	scrolled = scrolled && scroll >= 0
	if scrolled {
		out.Scroll = int(min(scroll, 100))
	}
	if !timed && !scrolled {
		return fieldError("e", "is missing or out of range, and sd too; want milliseconds of engagement in e or a scroll depth in percent in sd")
	}
	return nil
}

func optionalInteger(v *fastjson.Value, name string) (int64, bool) {
	f := field(v, name)
	if f == nil {
		return 0, false
	}
	return integer(f)
}

// integer reads a number, or a string of one, without its fraction.
func integer(v *fastjson.Value) (int64, bool) {
	n, ok := parseDecimal(decimalText(v), 0, false)
	return n, ok
}

// decimalText returns the digits of a number, or the content of a string.
func decimalText(v *fastjson.Value) string {
	switch v.Type() {
	case fastjson.TypeNumber:
		return string(v.MarshalTo(nil))
	case fastjson.TypeString:
		s, _ := text(v)
		return strings.TrimSpace(s)
	}
	return ""
}

func decodeProps(p *fastjson.Parser, v *fastjson.Value, out *Payload) error {
	if v == nil {
		return nil
	}
	if v.Type() == fastjson.TypeString {
		b, _ := v.StringBytes()
		b = bytes.Clone(bytes.TrimSpace(b))
		if len(b) == 0 {
			return nil
		}
		if tooDeep(b) {
			return fieldError("props", "is nested more than %d levels deep; want a flat object", maxDepth)
		}
		var err error
		if v, err = p.ParseBytes(b); err != nil {
			return fieldError("props", "is a string that is not JSON; want an object such as {\"plan\":\"pro\"}")
		}
	}
	object, err := v.Object()
	if err != nil {
		return fieldError("props", "is %s; want an object such as {\"plan\":\"pro\"}", article(v.Type()))
	}
	object.Visit(func(key []byte, value *fastjson.Value) {
		if err != nil || len(out.Props) >= maxProps {
			return
		}
		var prop Prop
		if prop, err = decodeProp(key, value); err == nil && prop.Value != "" {
			out.Props = append(out.Props, prop)
		}
	})
	return err
}

// decodeProp returns a property. Its value is empty if it is to be dropped, as are lists, objects and null.
func decodeProp(key []byte, v *fastjson.Value) (Prop, error) {
	if len(key) > maxPropKey {
		return Prop{}, fieldError("props", "has a key of %d bytes; want at most %d", len(key), maxPropKey)
	}
	prop := Prop{Key: oneLine(string(key))}
	switch v.Type() {
	case fastjson.TypeString:
		prop.Value, _ = text(v)
	case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse:
		prop.Value = string(v.MarshalTo(nil))
	}
	if len(prop.Value) > maxPropValue {
		return Prop{}, fieldError("props", "has a value of %d bytes; want at most %d", len(prop.Value), maxPropValue)
	}
	if prop.Value = strings.TrimSpace(prop.Value); prop.Key == "" {
		prop.Value = ""
	}
	return prop, nil
}
