package tracker

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

func TestMatomo(t *testing.T) {
	c := newCounting(t)
	ok := pixel
	q := func(pairs string) string { // values are escaped here, with ~ for = and | for &
		values := url.Values{}
		for pair := range strings.SplitSeq("idsite=@&rec=1&url=https://#/a&"+pairs, "&") {
			name, value, _ := strings.Cut(pair, "=")
			if values.Del(name); name != "" && value != "-" {
				values.Set(name, strings.NewReplacer("~", "=", "|", "&").Replace(value))
			}
		}
		return strings.NewReplacer("%40", "@", "%23", "#", "%28at%29", "%40").Replace(values.Encode())
	}
	get := func(pairs string) string { return "GET " + MatomoPath + "?" + q(pairs) }
	refused := func(text string) string { return `{"error":"` + text + `"}` }
	now := c.clock().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format(time.DateTime) }
	cases := []peerCase{
		{name: "page view", target: get("action_name=Title&rand=123&_id=0123456789abcdef&pv_id=abcdef&apiv=1&send_image=1"), status: 200, answer: ok,
			counted: "name=pageview path=/a host=# channel=Direct browser=Firefox"},
		{name: "old name", target: "GET " + PiwikPath + "?" + q(""), status: 200, answer: ok, counted: "path=/a"},
		{name: "no image", target: get("send_image=0"), status: 204, counted: "path=/a"},
		{name: "idsite is the domain", target: get("idsite=#"), status: 200, answer: ok, counted: "path=/a"},
		{name: "no idsite", target: get("idsite=-"), status: 400, answer: refused("idsite: is missing; want the id of the site, which is an alias of it here"), counted: "0"},
		{name: "no rec", target: get("rec=-"), status: 400, answer: refused("rec: is missing; want 1"), counted: "0"},
		{name: "rec is 0", target: get("rec=0"), status: 400, answer: "*", counted: "0"},
		{name: "url with a fragment", target: get("url=https://#/b?x~1%23y"), status: 200, answer: ok, counted: "path=/b"},
		{name: "no url, but a page", target: get("url=-"), header: []string{"Referer: https://#/c?d"}, status: 200, answer: ok, counted: "path=/c"},
		{name: "no url at all", target: get("url=-"), status: 200, answer: ok, counted: "path=/ host=#"},
		{name: "url is no page", target: get("url=javascript:x"), status: 400,
			answer: refused("url: is not the address of a web page; want the full address of the page, such as https://example.com/path"), counted: "0"},
		{name: "urlref", target: get("urlref=https://www.google.com/"), status: 200, answer: ok, counted: "source=Google"},
		{name: "res", target: get("res=1920x1080"), status: 200, answer: ok, counted: "path=/a"},
		{name: "lang", target: get("lang=pt-br"), header: []string{"Accept-Language: de"}, status: 200, answer: ok, counted: "language=pt"},
		{name: "mtm_campaign and so on", target: get("url=https://#/a?mtm_campaign~May|mtm_kwd~hoe|mtm_source~News|mtm_medium~email|mtm_content~top"), status: 200, answer: ok,
			counted: "campaign=May term=hoe utm_source=News medium=email content=top channel=Email"},
		{name: "pk_campaign", target: get("url=https://#/a?pk_campaign~May|pk_keyword~hoe"), status: 200, answer: ok, counted: "campaign=May term=hoe"},
		{name: "utm_campaign", target: get("url=https://#/a?mtm_campaign~May|utm_campaign~June"), status: 200, answer: ok, counted: "campaign=June"},
		{name: "who it is", target: get("uid=jane&cid=0123456789abcdef&new_visit=1&h=1&m=2&s=3&cookie=1&java=1"), status: 200, answer: ok, counted: "path=/a"},
		{name: "how fast it was", target: get("pf_net=1&pf_srv=2&pf_tfr=3&pf_dm1=4&pf_dm2=5&pf_onl=6"), status: 200, answer: ok, counted: "path=/a"},
		{name: "where it is, without a token", target: get("country=us&region=CA&city=x&lat=1&long=2"), header: []string{"X-Forwarded-For: 85.214.132.117"}, status: 200, answer: ok, counted: "country=DE"},
		{name: "address that is none, without a token", target: get("cip=x&ua=Googlebot"), status: 200, answer: ok, counted: "browser=Firefox"},
		{name: "bots=1", target: get("bots=1"), header: []string{"User-Agent: Googlebot/2.1"}, status: 200, answer: ok, counted: "0"},
		{name: "event", target: get("e_c=Videos&e_a=Play&e_n=Intro&e_v=2.5&ca=1"), status: 200, answer: ok, counted: "name=Videos:_Play .name=Intro .value=2.5 path=/a"},
		{name: "event without name and value", target: get("e_c=Videos&e_a=Play"), status: 200, answer: ok, counted: "name=Videos:_Play .name= .value="},
		{name: "event without action", target: get("e_c=Videos"), status: 400, answer: refused("e_c: and e_a are both wanted: the category of an event and what was done"), counted: "0"},
		{name: "event with a long name", target: get("e_c=" + strings.Repeat("x", 100) + "&e_a=" + strings.Repeat("y", 100)), status: 200, answer: ok,
			counted: "name=" + strings.Repeat("x", 100) + ":_" + strings.Repeat("y", 18)},
		{name: "event with dimensions", target: get("e_c=a&e_a=b&dimension1=x&dimension22=y&dimension=z&dimensionx=z"), status: 200, answer: ok,
			counted: ".dimension1=x .dimension22=y .dimension= .dimensionx="},
		{name: "outlink", target: get("link=https://other.example/x?y&url=https://#/a"), status: 200, answer: ok, counted: "name=Outbound_Link:_Click .url=https://other.example/x path=/a host=#"},
		{name: "outlink with the same url", target: get("link=https://other.example/x&url=https://other.example/x"), status: 200, answer: ok, counted: "name=Outbound_Link:_Click host=# path=/"},
		{name: "download", target: get("download=https://#/f.pdf"), status: 200, answer: ok, counted: "name=File_Download .url=https://#/f.pdf path=/a"},
		{name: "search", target: get("search=hoe&search_cat=tools&search_count=7"), status: 200, answer: ok, counted: "name=Site_Search .keyword=hoe .category=tools .results=7"},
		{name: "search for a person", target: get("search=jane(at)example.org"), status: 200, answer: ok, counted: "name=Site_Search .keyword=:email"},
		{name: "goal", target: get("idgoal=3&revenue=10"), status: 200, answer: ok, counted: "name=Goal_3"},
		{name: "order", target: get("idgoal=0&ec_id=4711&revenue=10&ec_items=[]&ec_st=9&ec_tx=1&ec_sh=0&ec_dt=0"), status: 200, answer: ok, counted: "name=Order"},
		{name: "cart", target: get("idgoal=0&revenue=10"), status: 200, answer: ok, counted: "name=Cart_Update"},
		{name: "content", target: get("c_n=banner&c_p=x&c_t=y"), status: 200, answer: ok, counted: "0"},
		{name: "content interaction", target: get("c_n=banner&c_i=click&send_image=0"), status: 204, counted: "0"},
		{name: "something of a plug-in", target: get("ca=1&ma_id=1"), status: 200, answer: ok, counted: "0"},
		{name: "ping without a visit", target: get("ping=1"), status: 200, answer: ok, counted: "0"},
		{name: "cdt of a minute ago", target: get("cdt=" + at(-time.Minute)), status: 200, answer: ok, counted: "path=/a"},
		{name: "cdt in seconds", target: get("cdt=" + strconv.FormatInt(now.Unix()-60, 10)), status: 200, answer: ok, counted: "path=/a"},
		{name: "cdt of yesterday", target: get("cdt=" + at(-24*time.Hour)), status: 400, answer: "*", counted: "0"},
		{name: "cdt that is none", target: get("cdt=x"), status: 400, answer: "*", counted: "0"},
		{name: "form", target: "POST " + MatomoPath, body: q(""), header: []string{"Content-Type: application/x-www-form-urlencoded; charset=UTF-8"}, status: 200, answer: ok, counted: "path=/a"},
		{name: "form with the type of a text", target: "POST " + MatomoPath, body: q("send_image=0"), header: []string{"Content-Type: text/plain"}, status: 204, counted: "path=/a"},
		{name: "POST with a query", target: "POST " + MatomoPath + "?" + q(""), status: 200, answer: ok, counted: "path=/a"},
		{name: "body before query", target: "POST " + MatomoPath + "?" + q(""), body: "url=https%3A%2F%2F#%2Fb", status: 200, answer: ok, counted: "path=/b"},
		{name: "empty form", target: "POST " + MatomoPath, status: 400, answer: refused("rec: is missing; want 1"), counted: "0"},
		{name: "nothing, as installers ask", target: "GET " + MatomoPath, status: 200, answer: "Hits in the format of Matomo's tracking API are taken here.\n", counted: "0"},

		{name: "bulk", target: "POST " + MatomoPath, body: `{"requests":["?` + q("") + `","` + q("") + `","https://x.example/piwik.php?` + q("") + `"]}`, status: 200,
			answer: `{"status":"success","tracked":3,"invalid":0,"invalid_indices":[]}`, counted: "3 path=/a"},
		{name: "bulk of objects", target: "POST " + MatomoPath, body: `{"requests":[{"idsite":"@","rec":1,"url":"https://#/a","x":null}]}`, status: 200,
			answer: `{"status":"success","tracked":1,"invalid":0,"invalid_indices":[]}`, counted: "path=/a"},
		{name: "bulk as the script sends it", target: "POST " + MatomoPath, header: []string{"Content-Type: application/x-www-form-urlencoded; charset=UTF-8"},
			body: `{"requests":["?` + q("") + `"],"send_image":0}`, status: 204, counted: "path=/a"},
		{name: "bulk with wrong hits", target: "POST " + MatomoPath, body: `{"requests":["?rec=1",7,"?` + q("") + `"]}`, status: 200,
			answer: `{"status":"success","tracked":1,"invalid":2,"invalid_indices":[0,1]}`, counted: "path=/a"},
		{name: "bulk without requests", target: "POST " + MatomoPath, body: `{"requests":[]}`, status: 400,
			answer: `{"status":"error","tracked":0,"invalid":0,"invalid_indices":[],"message":"requests: is missing or no array of queries"}`, counted: "0"},
		{name: "bulk that is no JSON", target: "POST " + MatomoPath, body: `{"requests":`, status: 400, answer: "*", counted: "0"},
		{name: "bulk with a token of another type", target: "POST " + MatomoPath, body: `{"requests":["?x"],"token_auth":7}`, status: 400, answer: "*", counted: "0"},
	}
	c.run(cases)
}

// TestMatomoPing has a heartbeat lengthen the visit, and nothing else.
func TestMatomoPing(t *testing.T) {
	c := newPeers(t)
	const path = MatomoPath + "?idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2F"
	c.do("GET", path, "")
	c.wait(15 * time.Second)
	c.do("GET", path+"&ping=1", "")
	if got := c.tracker.Outcomes()[Accepted]; got != 2 {
		t.Errorf("%d hits were accepted, want the page view and the heartbeat", got)
	}
	c.expect([4]int{1, 1, 1, 1})
	c.wait(29 * time.Minute)
	c.do("GET", path+"&ping=1", "")
	c.wait(29 * time.Minute)
	c.do("GET", path, "")
	c.expect([4]int{1, 1, 2, 2}) // still the same visit
}

func TestMatomoHeaders(t *testing.T) {
	c := newCounting(t)
	resp, _ := c.do("POST", MatomoPath, "idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2F", "Origin: https://example.com", "Cookie: MATOMO_SESSID=x")
	for name, want := range map[string]string{
		"Content-Type": "image/gif", "Access-Control-Allow-Origin": "https://example.com", "Access-Control-Allow-Credentials": "true", "Vary": "Origin",
		"Cross-Origin-Resource-Policy": "cross-origin", "Cache-Control": "no-store", "Set-Cookie": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	resp, _ = c.do("POST", MatomoPath, "idsite=7&rec=1")
	if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("without an origin %q may read", got)
	}
}

func FuzzMatomo(f *testing.F) {
	for _, seed := range []string{
		"idsite=1&rec=1&url=https%3A%2F%2Fexample.com%2F%3Fpk_campaign%3Dx%23y&urlref=&res=1x2&lang=de&cdt=2026-01-01+00:00:00&cip=::1&ua=x",
		"idsite=1&rec=1&e_c=a&e_a=%ff&e_n=%00&dimension7=x", "idsite=1&rec=1&link=https://x.example/&url=https://x.example/", "idsite=1&rec=1&search=&search_cat=x",
		"idsite=1&rec=1&idgoal=0&ec_id=1", "idsite=1&rec=1&ping=1", `{"requests":["?idsite=1&rec=1",{"idsite":1,"rec":1,"url":"https://a.example/"},7],"send_image":"0","token_auth":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var a fasthttp.Args
		check := func() {
			var p Payload
			var s said
			if err := decodeMatomo(&a, "https://example.com/from", noHome, &p, &s); err != nil {
				checkFieldError(t, err)
				return
			}
			checkDecoded(t, &p, &s)
		}
		if !bytes.HasPrefix(body, []byte("{")) {
			a.ParseBytes(body)
			check()
			return
		}
		var parser fastjson.Parser
		requests, _, _, err := parseMatomoBulk(&parser, body)
		if err != nil {
			checkFieldError(t, err)
			return
		}
		for _, v := range requests {
			if err := matomoArgs(v, &a); err != nil {
				checkFieldError(t, err)
				continue
			}
			check()
		}
	})
}
