package tracker

import "testing"

func TestChannel(t *testing.T) {
	for _, c := range []struct {
		t    traffic
		want string
	}{
		{traffic{}, "Direct"},
		{traffic{source: "(direct)", medium: "(none)"}, "Direct"},
		{traffic{source: "direct", medium: "(not set)"}, "Direct"},
		{traffic{medium: "email"}, "Email"},
		{traffic{source: "Google", category: "search", medium: "cpc", campaign: "EU cross-network"}, "Cross-network"},
		{traffic{source: "Amazon", category: "shopping", medium: "cpc"}, "Paid Shopping"},
		{traffic{source: "Google", category: "search", medium: "cpc", campaign: "Shopping DE"}, "Paid Shopping"},
		{traffic{source: "Google", category: "search", medium: "cpc", campaign: "eshop"}, "Paid Shopping"},
		{traffic{source: "Google", category: "search", medium: "cpc", campaign: "workshop"}, "Paid Search"},
		{traffic{source: "Google", category: "search", medium: "cpc", campaign: "workshop-shop"}, "Paid Shopping"},
		{traffic{source: "Google", category: "search", medium: "CPC"}, "Paid Search"},
		{traffic{source: "Google", category: "search", medium: "ppc"}, "Paid Search"},
		{traffic{source: "Google", category: "search", medium: "retargeting"}, "Paid Search"},
		{traffic{source: "Google", category: "search", referred: true, paidClick: true}, "Paid Search"},
		{traffic{source: "Google Ads", category: "paidsearch"}, "Paid Search"},
		{traffic{source: "Facebook", category: "social", medium: "paidsocial"}, "Paid Social"},
		{traffic{source: "YouTube", category: "video", medium: "cpv-cpm"}, "Paid Video"},
		{traffic{source: "acme", medium: "display"}, "Display"},
		{traffic{source: "acme", medium: "cpm"}, "Display"},
		{traffic{source: "Taboola", category: "ad", referred: true}, "Display"},
		{traffic{source: "acme", medium: "cpc"}, "Paid Other"},
		{traffic{source: "acme", medium: "paid"}, "Paid Other"},
		{traffic{source: "ChatGPT", category: "ai", referred: true}, "AI Assistants"},
		{traffic{source: "eBay", category: "shopping", referred: true}, "Organic Shopping"},
		{traffic{source: "acme", medium: "email", campaign: "shop news"}, "Email"},
		{traffic{source: "Reddit", category: "social", referred: true}, "Organic Social"},
		{traffic{source: "acme", medium: "social-media"}, "Organic Social"},
		{traffic{source: "Vimeo", category: "video", referred: true}, "Organic Video"},
		{traffic{source: "acme", medium: "video-ad"}, "Organic Video"},
		{traffic{source: "Bing", category: "search", referred: true}, "Organic Search"},
		{traffic{source: "acme", medium: "organic"}, "Organic Search"},
		{traffic{source: "Gmail", category: "email", referred: true}, "Email"},
		{traffic{source: "e-mail"}, "Email"},
		{traffic{source: "acme", medium: "newsletter"}, "Email"},
		{traffic{source: "acme", medium: "affiliate"}, "Affiliates"},
		{traffic{source: "acme", medium: "audio"}, "Audio"},
		{traffic{source: "sms"}, "SMS"},
		{traffic{source: "acme", medium: "web-push"}, "Mobile Push Notifications"},
		{traffic{source: "firebase"}, "Mobile Push Notifications"},
		{traffic{source: "flyer", medium: "QR-Code"}, "QR Codes"},
		{traffic{source: "qr"}, "QR Codes"},
		{traffic{source: "acme", medium: "referral"}, "Referral"},
		{traffic{source: "blog.example.org", referred: true}, "Referral"},
		{traffic{source: "Wikipedia", category: "other", referred: true}, "Referral"},
		{traffic{source: "acme"}, "Other Campaigns"},
		{traffic{source: "acme", medium: "print"}, "Other Campaigns"},
		{traffic{campaign: "spring"}, "Other Campaigns"},
	} {
		if got := channel(c.t); got != c.want {
			t.Errorf("%+v is %q, want %q", c.t, got, c.want)
		}
	}
}
