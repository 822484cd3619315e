package tracker

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxPath is the longest path that is counted, in bytes, as in Plausible's API. What is longer is cut.
	maxPath = 2000
	// maxHost is the longest host name that DNS allows, in bytes.
	maxHost = 253
)

// address is a URL cut into its parts, as they were written.
type address struct {
	scheme, host, path, query, fragment string
}

// splitURL cuts an absolute URL with a host. ok is false for anything else: data:, javascript:, relative.
// It knows less than net/url, but never fails on a page's odd escapes, and costs a tenth.
func splitURL(s string) (a address, ok bool) {
	a.scheme, s, ok = strings.Cut(s, "://")
	if !ok || !validScheme(a.scheme) {
		return address{}, false
	}
	a.scheme = strings.ToLower(a.scheme)
	s, a.fragment, _ = strings.Cut(s, "#")
	s, a.query, _ = strings.Cut(s, "?")
	if i := strings.IndexAny(s, `/\`); i >= 0 {
		s, a.path = s[:i], s[i:]
	}
	a.host, ok = cleanHost(s)
	return a, ok
}

// validScheme tells whether s is the scheme of a page: http, https, or that of an app's own pages (such as
// capacitor or android-app). Schemes that carry their content in the address are none.
func validScheme(s string) bool {
	if s == "https" || s == "http" {
		return true
	}
	switch strings.ToLower(s) {
	case "", "data", "javascript", "vbscript", "blob", "about", "view-source", "file":
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

// cleanHost brings the authority of a URL to the form in which hosts are counted: lower case, without user,
// port, trailing dot and "www.". ok is false if no valid host is left.
func cleanHost(authority string) (host string, ok bool) {
	host = authority[strings.LastIndexByte(authority, '@')+1:]
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 3 {
			return "", false
		}
		host = strings.ToLower(host[:end+1])
		return host, strings.Trim(host[1:end], "0123456789abcdef:.") == ""
	}
	if i := strings.IndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	host = strings.TrimRight(strings.ToLower(host), ".")
	host = bareHost(host)
	if host == "" || len(host) > maxHost {
		return "", false
	}
	for _, r := range host {
		if r != '-' && r != '.' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			return "", false
		}
	}
	return host, !strings.HasPrefix(host, ".")
}

// bareHost drops leading "www." labels, unless nothing of a name is left.
func bareHost(host string) string {
	for {
		rest, found := strings.CutPrefix(host, "www.")
		if !found || !strings.Contains(rest, ".") {
			return host
		}
		host = rest
	}
}

// pagePath returns the path under which the page at a is counted. Of its query only the parameters to keep are left, of
// its fragment nothing, unless it is the route of a single-page application.
func pagePath(a address, route bool, keep []string, n *Replaced) string {
	path := cleanPath(a.path, n)
	if len(keep) > 0 && a.query != "" {
		if query := keptQuery(a.query, keep, n); query != "" && len(path)+1+len(query) <= maxPath {
			path += "?" + query
		}
	}
	if !route {
		return path
	}
	fragment := cleanFragment(a.fragment, n)
	if fragment == "" {
		return path
	}
	return truncate(path+"#"+fragment, maxPath)
}

// cleanFragment cleans a route. What comes behind a ? in it is a query like any other, and a fragment of
// parameters is no route: sign-in services hand over tokens that way.
func cleanFragment(fragment string, n *Replaced) string {
	fragment, _, _ = strings.Cut(fragment, "?")
	if fragment == "" || strings.Contains(fragment, "=") && !strings.HasPrefix(fragment, "/") && !strings.HasPrefix(fragment, "!/") {
		return ""
	}
	route := readable(fragment, true)
	route = strings.TrimRight(truncate(route, maxPath), "/")
	return redact(route, n)
}

// cleanPath decodes, shortens and redacts a path. It starts with a slash and does not end with one, except for
// "/" itself. cleanPath(cleanPath(p)) is cleanPath(p).
func cleanPath(path string, n *Replaced) string {
	path = readable(path, false)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	path = truncate(path, maxPath-1)
	for len(path) > 1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	return redact(path, n)
}

// readable decodes %-escapes that stand for printable text, and escapes what is not printable, so that one
// page has one spelling. Escapes of % ? # and / stay, since without them the text would mean something else.
func readable(s string, fragment bool) string {
	if isPlain(s) {
		return s
	}
	return decodeRunes(normalize(s, fragment))
}

// isPlain tells whether s is printable ASCII without anything to decode or escape.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' || c == '#' || c == '?' || c == '\\' {
			return false
		}
	}
	return true
}

const upperHex = "0123456789ABCDEF"

// normalize writes s in printable ASCII: everything else, and whatever has a meaning in a path, as an escape
// with capital digits.
func normalize(s string, fragment bool) []byte {
	out := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		c, escaped := s[i], false
		if c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			c, escaped = unhex(s[i+1])<<4|unhex(s[i+2]), true
			i += 2
		}
		reserved := c == '%' || c == '?' || c == '#' || c == '/' && escaped
		switch {
		case c == '\\' && !escaped && !fragment:
			out = append(out, '/') // as browsers read it
		case c < ' ' || c > '~' || reserved:
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		default:
			out = append(out, c)
		}
	}
	return out
}

// decodeRunes decodes the escapes in the output of normalize that stand for printable characters beyond ASCII.
func decodeRunes(s []byte) string {
	out := make([]byte, 0, len(s))
	var run []byte
	for i := 0; i < len(s); {
		if s[i] != '%' {
			out = append(out, s[i])
			i++
			continue
		}
		start := i
		run = run[:0]
		for i+2 < len(s) && s[i] == '%' {
			run = append(run, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 3
		}
		for len(run) > 0 {
			r, size := utf8.DecodeRune(run)
			if r >= utf8.RuneSelf && (r != utf8.RuneError || size > 1) && unicode.IsPrint(r) {
				out = append(out, run[:size]...)
			} else {
				size = 1
				out = append(out, s[start:start+3]...)
			}
			run, start = run[size:], start+3*size
		}
	}
	return string(out)
}

// truncate cuts s to at most n bytes, never within a character or an escape.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	if i := strings.LastIndexByte(s[:n], '%'); i >= 0 && i > n-3 {
		n = i
	}
	return s[:n]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// unhex returns the value of a hexadecimal digit.
func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
