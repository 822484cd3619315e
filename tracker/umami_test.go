package tracker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fastjson"
)

func TestUmami(t *testing.T) {
	c := newCounting(t)
	ok := umamiAccepted
	refused := func(message string) string {
		return `{"error":{"message":"` + message + `","code":"bad-request","status":400}}`
	}
	hit := func(fields string) string {
		return `{"type":"event","payload":{"website":"@","hostname":"#","url":"/a"` + fields + `}}`
	}
	now := c.clock().Unix()
	const send = "POST " + UmamiSendPath
	c.run([]peerCase{
		{name: "page view", target: send, body: hit(""), status: 200, answer: ok, counted: "name=pageview path=/a host=# channel=Direct browser=Firefox"},
		{name: "website is the domain", target: send, body: `{"type":"event","payload":{"website":"#","url":"/"}}`, status: 200, answer: ok, counted: "path=/ host=#"},
		{name: "website with spaces", target: send, body: `{"type":"event","payload":{"website":" @ ","url":"/"}}`, status: 200, answer: ok, counted: "path=/"},
		{name: "hostname", target: send, body: `{"type":"event","payload":{"website":"@","hostname":"www.Blog.#","url":"/"}}`, status: 200, answer: ok, counted: "host=blog.#"},
		{name: "no hostname", target: send, body: `{"type":"event","payload":{"website":"@","url":"/b?x=1#y"}}`, status: 200, answer: ok, counted: "host=# path=/b"},
		{name: "hostname that is none", target: send, body: `{"type":"event","payload":{"website":"@","hostname":"a/b?","url":"/"}}`, status: 400,
			answer: refused("hostname: is not the name of a host"), counted: "0"},
		{name: "url is a full address", target: send, body: `{"type":"event","payload":{"website":"@","hostname":"x.example","url":"https://#/c/?utm_source=News&utm_campaign=May"}}`,
			status: 200, answer: ok, counted: "path=/c host=# utm_source=News campaign=May"},
		{name: "url without a slash", target: send, body: `{"type":"event","payload":{"website":"@","url":"d"}}`, status: 200, answer: ok, counted: "path=/d"},
		{name: "no url", target: send, body: `{"type":"event","payload":{"website":"@"}}`, status: 200, answer: ok, counted: "path=/"},
		{name: "url is no page", target: send, body: `{"type":"event","payload":{"website":"@","url":"javascript:alert(1)"}}`, status: 400,
			answer: refused("url: is not the address of a web page; want one such as https://example.com/path or /path"), counted: "0"},
		{name: "url is too long", target: send, body: `{"type":"event","payload":{"website":"@","url":"/` + strings.Repeat("x", maxURL) + `"}}`, status: 400, answer: "*", counted: "0"},
		{name: "referrer", target: send, body: hit(`,"referrer":"https://www.google.com/search?q=secret"`), status: 200, answer: ok, counted: "source=Google referrer=google.com/search"},
		{name: "referrer is a path", target: send, body: hit(`,"referrer":"/before"`), status: 200, answer: ok, counted: "channel=Direct"},
		{name: "title, id, vid and session data", target: send, body: hit(`,"title":"T","id":"user-1","vid":"v","browser":"x","os":"y","device":"z"`), status: 200, answer: ok,
			counted: "path=/a browser=Firefox os=GNU/Linux"},
		{name: "language", target: send, body: hit(`,"language":"pt-BR"`), header: []string{"Accept-Language: de-AT"}, status: 200, answer: ok, counted: "language=pt"},
		{name: "language of the header", target: send, body: hit(`,"language":""`), header: []string{"Accept-Language: de-AT"}, status: 200, answer: ok, counted: "language=de"},
		{name: "event", target: send, body: hit(`,"name":"Sign up","data":{"plan":"pro","n":2.5,"on":true,"none":null}`), status: 200, answer: ok,
			counted: "name=Sign_up .plan=pro .n=2.5 .on=true"},
		{name: "event with nested data", target: send, body: hit(`,"name":"x","data":{"a":{"b":{"c":"d"}},"list":[1,"z"]}`), status: 200, answer: ok, counted: `.a.b.c=d .list=[1,"z"]`},
		{name: "event with data that is no object", target: send, body: hit(`,"name":"x","data":[1]`), status: 200, answer: ok, counted: "name=x"},
		{name: "event with revenue", target: send, body: hit(`,"name":"Buy","data":{"revenue":19.99,"currency":"EUR","item":"hoe"}`), status: 200, answer: ok,
			counted: "name=Buy .item=hoe .revenue= .currency="},
		{name: "event with a tag", target: send, body: hit(`,"name":"x","tag":"variant b"`), status: 200, answer: ok, counted: ".tag=variant_b"},
		{name: "event called as ours are", target: send, body: hit(`,"name":"engagement"`), status: 200, answer: ok, counted: "name=Engagement"},
		{name: "event with a long name", target: send, body: hit(`,"name":"` + strings.Repeat("x", 121) + `"`), status: 400,
			answer: refused("name: has 121 characters; want at most 120"), counted: "0"},
		{name: "event with an e-mail", target: send, body: hit(`,"name":"x","data":{"who":"jane\u0040example.org"}`), status: 200, answer: ok, counted: ".who=:email"},
		{name: "identify", target: send, body: `{"type":"identify","payload":{"website":"@","id":"user-1","data":{"name":"Jane"}}}`, status: 200, answer: ok, counted: "0"},
		{name: "performance", target: send, body: `{"type":"performance","payload":{"website":"@","url":"/","lcp":1200}}`, status: 200, answer: ok, counted: "0"},
		{name: "engagement without a visit", target: send, body: `{"type":"engagement","payload":{"website":"@","url":"/","engagement":1200}}`, status: 200, answer: ok, counted: "0"},
		{name: "engagement out of range", target: send, body: `{"type":"engagement","payload":{"website":"@","url":"/","engagement":-1}}`, status: 400, answer: "*", counted: "0"},
		{name: "timestamp of a minute ago", target: send, body: hit(fmt.Sprintf(`,"timestamp":%d`, now-60)), status: 200, answer: ok, counted: "path=/a"},
		{name: "timestamp of yesterday", target: send, body: hit(fmt.Sprintf(`,"timestamp":%d`, now-86400)), status: 400, answer: "*", counted: "0"},
		{name: "timestamp of tomorrow", target: send, body: hit(fmt.Sprintf(`,"timestamp":"%d"`, now+86400)), status: 400, answer: "*", counted: "0"},
		{name: "timestamp that is none", target: send, body: hit(`,"timestamp":[]`), status: 400, answer: refused("timestamp: is an array; want seconds since 1970"), counted: "0"},
		{name: "address without a token", target: send, body: hit(`,"ip":"no address"`), status: 200, answer: ok, counted: "path=/a"},
		{name: "cache of before", target: send, body: hit(""), header: []string{"X-Umami-Cache: eyJ", "Cookie: a=b"}, status: 200, answer: ok, counted: "path=/a"},
		{name: "no payload", target: send, body: `{"type":"event"}`, status: 400, answer: "*", counted: "0"},
		{name: "no type", target: send, body: `{"payload":{"website":"@"}}`, status: 400, answer: refused("type: is missing or unknown; want event"), counted: "0"},
		{name: "no website", target: send, body: `{"type":"event","payload":{}}`, status: 400, answer: "*", counted: "0"},
		{name: "two websites", target: send, body: `{"type":"event","payload":{"website":"@,#","url":"/"}}`, status: 400, answer: refused("website: is not the id of one site"), counted: "0"},
		{name: "website of another type", target: send, body: `{"type":"event","payload":{"website":7}}`, status: 400, answer: refused("website: is a number; want a string"), counted: "0"},
		{name: "no JSON", target: send, body: `website=@`, status: 400, answer: refused("body: is not JSON"), counted: "0"},
		{name: "no object", target: send, body: `[]`, status: 400, answer: "*", counted: "0"},
		{name: "nothing", target: send, status: 400, answer: refused("body: is not JSON"), counted: "0"},
		{name: "nested too deep", target: send, body: strings.Repeat("[", 1000), status: 400, answer: refused("body: is nested more than 16 levels deep"), counted: "0"},

		{name: "batch", target: "POST " + UmamiBatchPath, body: "[" + hit("") + "," + hit(`,"name":"x"`) + "]", status: 200,
			answer: `{"size":2,"processed":2,"errors":0,"details":[],"cache":""}`, counted: "2 path=/a"},
		{name: "batch with a wrong hit", target: "POST " + UmamiBatchPath, body: `[{"type":"event"},` + hit("") + "]", status: 200,
			answer: `{"size":2,"processed":1,"errors":1,"details":[{"index":0,"response":{"error":{"message":"payload: is missing or no object; ` +
				`want {\"type\":\"event\",\"payload\":{\"website\":...}}","code":"bad-request","status":400}}}],"cache":""}`, counted: "path=/a"},
		{name: "empty batch", target: "POST " + UmamiBatchPath, body: "[]", status: 200, answer: `{"size":0,"processed":0,"errors":0,"details":[],"cache":""}`, counted: "0"},
		{name: "batch that is none", target: "POST " + UmamiBatchPath, body: hit(""), status: 400, answer: refused("body: is an object; want an array of hits"), counted: "0"},
	})
}

// TestUmamiIDInCapitals finds a site by its id in either case, as ids are one and the same in both.
func TestUmamiIDInCapitals(t *testing.T) {
	c := newCounting(t)
	site, alias := c.peerSite(t, "capitals.example")
	c.send(peerCase{target: "POST " + UmamiSendPath, body: `{"type":"event","payload":{"website":"` + strings.ToUpper(alias) + `","url":"/"}}`})
	c.checkCounted(t, site, "path=/")
}

// TestUmamiEngagement has the time on a page as newer scripts of Umami send it.
func TestUmamiEngagement(t *testing.T) {
	c := newPeers(t)
	send := func(body string) { c.send(peerCase{target: "POST " + UmamiSendPath, body: body}) }
	send(`{"type":"event","payload":{"website":"7","url":"/a"}}`)
	c.wait(20 * time.Second)
	send(`{"type":"engagement","payload":{"website":"7","url":"/a","engagement":15000}}`)
	if got := c.tracker.Outcomes()[Accepted]; got != 2 {
		t.Errorf("%d hits were accepted, want the page view and the engagement", got)
	}
	c.expect([4]int{1, 1, 1, 1})
}

func TestUmamiRevenueAndScreen(t *testing.T) {
	for _, tt := range []struct {
		data, screen string
		want         Money
		width        int
	}{
		{`{"revenue":19.99,"currency":"EUR"}`, "1920x1080", Money{1999, "EUR"}, 1920},
		{`{"revenue":"5","currency":"jpy"}`, "390x844", Money{5, "JPY"}, 390},
		{`{"revenue":5}`, "", Money{}, 0},
		{`{"revenue":5,"currency":"XXX"}`, "wide", Money{}, 0},
		{`{}`, "123456x1", Money{}, 0},
	} {
		v := fastjson.MustParse(`{"type":"event","payload":{"website":"7","url":"/","name":"x","screen":"` + tt.screen + `","data":` + tt.data + `}}`)
		var p Payload
		var s said
		if err := decodeUmami(v, noHome, &p, &s); err != nil || p.Revenue != tt.want || p.Width != tt.width {
			t.Errorf("%s, screen %q: %+v, width %d (%v), want %+v and %d", tt.data, tt.screen, p.Revenue, p.Width, err, tt.want, tt.width)
		}
	}
}

func noHome(string) string { return "home.example" }

func FuzzUmami(f *testing.F) {
	for _, seed := range []string{
		`{"type":"event","payload":{"website":"7","hostname":"example.com","url":"/a?b=c#d","referrer":"https://other.example/","language":"de","screen":"1x2"}}`,
		`{"type":"event","payload":{"website":"7","url":"https://x.example/","name":"x","tag":"t","data":{"a":{"b":[1,{}]},"revenue":1,"currency":"EUR"},"timestamp":1e9}}`,
		`{"type":"engagement","payload":{"website":"7","url":"x:y","engagement":"12"}}`, `{"type":"identify","payload":{}}`, `[[[[`, "{\"type\":\"event\",\"payload\":{\"website\":\"\xff\",\"url\":\"//\\\\\"}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var parser fastjson.Parser
		v, err := parseJSON(&parser, body)
		if err != nil {
			return
		}
		var p Payload
		var s said
		if err := decodeUmami(v, noHome, &p, &s); err != nil {
			checkFieldError(t, err)
			return
		}
		checkDecoded(t, &p, &s)
	})
}

func checkFieldError(t *testing.T, err error) {
	t.Helper()
	if wrong := (*FieldError)(nil); !errors.As(err, &wrong) {
		t.Errorf("error %v is not for people", err)
	}
}
