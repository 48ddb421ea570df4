"""Sends each token and compares the answer. Usage: check.py URL FILE..."""

import http.client
import json
import sys
import urllib.parse

address = urllib.parse.urlsplit(sys.argv[1])
connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
accepted = refused = 0
wrong = []
for name in sys.argv[2:]:
    with open(name, encoding="utf-8") as file:
        cases = json.load(file)
    for case in cases:
        connection.request("GET", "/api/users/me/profile/", headers={"Authorization": f"Bearer {case['token']}"})
        answer = connection.getresponse()
        body = answer.read().decode()
        expected = case["expected"]
        if isinstance(expected, dict):
            accepted += 1
            is_right = answer.status == 200 and json.loads(body)["user_id"] == expected["user_id"]
        else:
            refused += 1
            is_right = [answer.status, body] == expected
            challenge = answer.getheader("WWW-Authenticate", "")
            is_right = is_right and challenge.startswith('Bearer realm="api"')
        if not is_right:
            wrong.append(f"{case['what']}: {answer.status} {body}, not {expected}")
print("\n".join(wrong) or f"{accepted} tokens accepted, {refused} refused, each as it should be")
sys.exit(1 if wrong else 0)
