package tracker

import (
	"strings"
	"testing"

	"dachs/storage"
)

func TestOrigin(t *testing.T) {
	for _, c := range []struct{ query, referrer, source, channel, ref string }{
		{"", "", "", "Direct", ""},
		{"", "https://www.google.com/", "Google", "Organic Search", "google.com"},
		{"", "https://www.google.de/search?q=secret", "Google", "Organic Search", "google.de/search"},
		{"", "android-app://com.google.android.googlequicksearchbox/", "Google", "Organic Search", "com.google.android.googlequicksearchbox"},
		{"", "https://www.bing.com/", "Bing", "Organic Search", "bing.com"},
		{"", "https://duckduckgo.com/", "DuckDuckGo", "Organic Search", "duckduckgo.com"},
		{"", "https://de.search.yahoo.com/", "Yahoo!", "Organic Search", "de.search.yahoo.com"},
		{"", "https://suche.gmx.net/", "GMX", "Organic Search", "suche.gmx.net"},
		{"", "https://docs.google.com/", "Google", "Referral", "docs.google.com"},
		{"", "https://foo.google.com/", "Google", "Referral", "foo.google.com"},
		{"", "https://mail.google.com/mail/u/0/", "Gmail", "Email", "mail.google.com/mail/u/0"},
		{"", "https://deref-gmx.net/", "GMX", "Email", "deref-gmx.net"},
		{"", "https://l.facebook.com/", "Facebook", "Organic Social", "l.facebook.com"},
		{"", "https://t.co/abc", "X (Twitter)", "Organic Social", "t.co/abc"},
		{"", "https://old.reddit.com/r/golang/", "Reddit", "Organic Social", "old.reddit.com/r/golang"},
		{"", "https://www.youtube.com/", "YouTube", "Organic Video", "youtube.com"},
		{"", "https://www.amazon.de/", "Amazon", "Organic Shopping", "amazon.de"},
		{"", "https://chatgpt.com/", "ChatGPT", "AI Assistants", "chatgpt.com"},
		{"", "https://www.perplexity.ai/", "Perplexity", "AI Assistants", "perplexity.ai"},
		{"", "https://en.wikipedia.org/wiki/Badger", "Wikipedia", "Referral", "en.wikipedia.org/wiki/Badger"},
		{"", "https://www.heise.de/news/1.html?x=1#y", "heise online", "Referral", "heise.de/news/1.html"},
		{"", "https://blog.example.org/post/", "blog.example.org", "Referral", "blog.example.org/post"},
		{"", "https://www.google.com.mm/", "Google", "Organic Search", "google.com.mm"},
		{"", "https://www.pinterest.se/", "Pinterest", "Organic Social", "pinterest.se"},
		{"", "https://google.example/", "google.example", "Referral", "google.example"},
		{"", "https://notgoogle.com/", "notgoogle.com", "Referral", "notgoogle.com"},
		{"", "https://blog.example.org/u/jane@example.com", "blog.example.org", "Referral", "blog.example.org/u/:email"},
		{"", "https://550e8400-e29b-41d4-a716-446655440000.example.org/0123456789abcdef0123", ":uuid.example.org", "Referral", ":uuid.example.org/:id"},
		{"utm_source=jane%2540example.com", "", ":email", "Other Campaigns", ""},
		{"utm_source=" + strings.Repeat("x", 190) + "+jane%40example.com", "", strings.Repeat("x", 190) + " :email", "Other Campaigns", ""},
		// The site itself, garbage.
		{"", "https://example.com/other", "", "Direct", ""},
		{"", "https://www.example.com:8080/other", "", "Direct", ""},
		{"", "https://shop.example.com/", "shop.example.com", "Referral", "shop.example.com"},
		{"", "-", "", "Direct", ""},
		{"", "javascript://example.org/", "", "Direct", ""},
		// Tags win over the referrer.
		{"utm_source=newsletter&utm_medium=email", "https://www.google.com/", "Newsletter", "Email", "google.com"},
		{"utm_source=Facebook&utm_medium=cpc", "", "Facebook", "Paid Social", ""},
		{"utm_source=fb&utm_medium=paid_social", "", "Facebook", "Paid Social", ""},
		{"utm_source=google&utm_medium=cpc", "", "Google", "Paid Search", ""},
		{"utm_source=google_ads", "", "Google Ads", "Paid Search", ""},
		{"utm_source=chatgpt.com", "", "ChatGPT", "AI Assistants", ""},
		{"utm_source=Acme+Weekly", "", "Acme Weekly", "Other Campaigns", ""},
		{"utm_source=acme%20weekly&utm_medium=referral", "", "acme weekly", "Referral", ""},
		{"utm_source=jane%40example.com", "", ":email", "Other Campaigns", ""},
		{"source=producthunt", "", "Product Hunt", "Referral", ""},
		{"ref=hn", "", "Hacker News", "Organic Social", ""},
		{"ref=blog.example.org", "", "blog.example.org", "Referral", ""},
		{"ref=https://blog.example.org/x", "", "blog.example.org", "Referral", ""},
		{"ref=b&source=a", "", "a", "Referral", ""},
		{"utm_source=&ref=b", "", "b", "Referral", ""},
		{"utm_source=a&utm_source=b", "", "a", "Other Campaigns", ""},
		{"utm_campaign=spring", "", "", "Other Campaigns", ""},
		{"utm_medium=email", "", "", "Email", ""},
		{"utm_medium=qr&utm_source=poster", "", "poster", "QR Codes", ""},
		// Click ids: the network is known, the id is not kept.
		{"gclid=secret", "", "Google", "Paid Search", ""},
		{"gclid=secret", "https://www.google.com/", "Google", "Paid Search", "google.com"},
		{"gclid=secret", "https://www.youtube.com/", "YouTube", "Paid Video", "youtube.com"},
		{"msclkid=secret", "https://www.bing.com/", "Bing", "Paid Search", "bing.com"},
		{"twclid=secret", "", "X (Twitter)", "Paid Social", ""},
		{"ttclid=secret", "", "TikTok", "Paid Social", ""},
		{"li_fat_id=secret", "", "LinkedIn", "Paid Social", ""},
		{"rdt_cid=secret", "https://www.reddit.com/", "Reddit", "Paid Social", "reddit.com"},
		{"ScCid=secret", "", "Snapchat", "Paid Social", ""},
		{"yclid=secret", "https://yandex.ru/", "Yandex", "Paid Search", "yandex.ru"},
		{"fbclid=secret&igshid=secret", "", "", "Direct", ""},
		{"fbclid=secret", "https://l.facebook.com/", "Facebook", "Organic Social", "l.facebook.com"},
		{"token=secret&q=x", "", "", "Direct", ""},
	} {
		page, ok := splitURL("https://www.example.com/?" + c.query)
		if !ok {
			t.Fatalf("query %q is refused", c.query)
		}
		o := originOf(page, c.referrer, &storage.Site{}, new(Replaced))
		if o.Source != c.source || o.Channel != c.channel || o.Referrer != c.ref {
			t.Errorf("query %q, referrer %q: source %q, channel %q, referrer %q; want %q, %q, %q",
				c.query, c.referrer, o.Source, o.Channel, o.Referrer, c.source, c.channel, c.ref)
		}
	}
}

func TestTags(t *testing.T) {
	page, _ := splitURL("https://example.com/?utm_source=a&utm_medium=b%20c&utm_campaign=d+e&utm_term=%zz&utm_content=" + strings.Repeat("x", 300) + "&utm_id=1&q=2")
	o := originOf(page, "", &storage.Site{}, new(Replaced))
	want := Origin{Source: "a", Channel: "Other Campaigns", UTMSource: "a", UTMMedium: "b c", UTMCampaign: "d e", UTMTerm: "%zz", UTMContent: strings.Repeat("x", maxTag)}
	if o != want {
		t.Errorf("origin is %+v, want %+v", o, want)
	}
}

// Every line of the table must be found by the search over its bytes, and nothing between the lines.
func TestLookupSource(t *testing.T) {
	for line := range strings.Lines(sourceTable) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		name, category, ok := lookupSource(fields[0])
		if !ok || category != fields[1] || name != fields[2] {
			t.Errorf("%q is found as %q, %q, %v", fields[0], name, category, ok)
		}
		for _, near := range []string{fields[0] + "!", fields[0] + "\t" + fields[1], fields[0][:len(fields[0])-1] + "\x7f"} {
			if name, _, ok := lookupSource(near); ok {
				t.Errorf("%q is found as %q", near, name)
			}
		}
	}
	for _, none := range []string{"", "\n", "\t", "\x00", "\xff", "zzzz"} {
		if _, _, ok := lookupSource(none); ok {
			t.Errorf("%q is found", none)
		}
	}
}
