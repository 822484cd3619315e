package accesslog

import (
	"bytes"
	"strconv"
	"time"
)

// clfTime is the time of all textual formats.
const clfTime = "02/Jan/2006:15:04:05 -0700"

// parseText reads a line of Apache or nginx:
//
//	[VHOST[:PORT] ]ADDRESS IDENT USER [TIME] "METHOD TARGET PROTOCOL" STATUS SIZE[ "REFERRER" "AGENT"[ ...]]
func parseText(line []byte) (q Request, is Format, why cause) {
	head, rest, ok := bytes.Cut(line, []byte(" ["))
	if !ok {
		return q, 0, causeLayout
	}
	when, rest, ok := bytes.Cut(rest, []byte(`] "`))
	if !ok {
		return q, 0, causeLayout
	}
	vhost, ok := q.setHead(head)
	if !ok {
		return q, 0, causeAddress
	}
	t, err := time.Parse(clfTime, string(when))
	if err != nil {
		return q, 0, causeTime
	}
	q.Time = t
	request, rest, ok := cutQuoted(rest)
	if !ok {
		return q, 0, causeLayout
	}
	q.setRequest(request)
	if rest, ok = q.setStatus(rest); !ok {
		return q, 0, causeStatus
	}
	if !q.setAgent(rest) {
		return q, 0, causeCutShort
	}
	return q, textFormat(vhost, q.AgentKnown), causeNone
}

func textFormat(vhost, agent bool) Format {
	switch {
	case vhost && agent:
		return VHostCombined
	case vhost:
		return VHostCommon
	case agent:
		return Combined
	}
	return Common
}

// setHead reads what stands before the time. A user name may hold spaces, so only the first fields count; an
// address as second field means that a virtual host is the first, since nobody's IDENT is an address.
func (q *Request) setHead(head []byte) (vhost, ok bool) {
	first, rest, _ := bytes.Cut(head, []byte(" "))
	second, _, more := bytes.Cut(rest, []byte(" "))
	if addr, ok := parseAddr(string(second)); ok && more {
		q.Addr, q.Host = addr, cleanHost(text(first))
		return true, true
	}
	q.Addr, ok = parseAddr(string(first))
	return false, ok
}

// setRequest reads the request line. What clients sent need not be one: then Method stays empty. A target may
// hold spaces, and HTTP/0.9 has no protocol.
func (q *Request) setRequest(request []byte) {
	method, target, ok := bytes.Cut(request, []byte(" "))
	if !ok || !isToken(method) {
		return
	}
	if at := bytes.LastIndex(target, []byte(" HTTP/")); at >= 0 {
		target = target[:at]
	}
	q.Method, q.Target = string(method), text(target)
}

func isToken(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return len(b) > 0
}

func (q *Request) setStatus(b []byte) (rest []byte, ok bool) {
	b = bytes.TrimLeft(b, " ")
	status, rest, ok := bytes.Cut(b, []byte(" "))
	n, err := strconv.ParseUint(string(status), 10, 16)
	if !ok || err != nil || len(status) != 3 {
		return nil, false
	}
	q.Status = int(n)
	_, rest, _ = bytes.Cut(rest, []byte(" ")) // the size
	return rest, true
}

// setAgent reads referrer and user agent where the format has them. It returns false when a quote is left open.
func (q *Request) setAgent(b []byte) bool {
	if len(b) == 0 || b[0] != '"' {
		return true
	}
	referrer, rest, ok := cutQuoted(b[1:])
	if !ok {
		return false
	}
	rest = bytes.TrimLeft(rest, " ")
	if len(rest) == 0 || rest[0] != '"' {
		return false
	}
	agent, _, ok := cutQuoted(rest[1:])
	if !ok {
		return false
	}
	q.Referrer, q.UserAgent, q.AgentKnown = text(referrer), text(agent), true
	return true
}

// cutQuoted returns the field up to the next quote that is not escaped, unescaped, and what follows the quote.
func cutQuoted(b []byte) (field, rest []byte, ok bool) {
	escaped := false
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			if field = b[:i]; escaped {
				field = unescape(field)
			}
			return field, b[i+1:], true
		}
	}
	return nil, nil, false
}

// unescape undoes the escapes of Apache (\" \\ \n \t and the like, \xhh) and of nginx (\xHH).
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		if b[i] == 'x' && i+2 < len(b) {
			if n, err := strconv.ParseUint(string(b[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		if at := bytes.IndexByte([]byte("bnrtv"), b[i]); at >= 0 {
			out = append(out, "\b\n\r\t\v"[at])
			continue
		}
		out = append(out, b[i])
	}
	return out
}
