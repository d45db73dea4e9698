// `/api/whoami-v2`: whose token this is and what it may do.

import { HubRefusal, type HubReply, type HubRequest, json } from "../reply.ts";

export function whoAmI({ caller }: HubRequest): HubReply {
  if (!caller) throw new HubRefusal(401, "who you are is told to those who bring a token; set HF_TOKEN");
  const { user, role } = caller;
  return json({
    type: "user",
    id: user,
    name: user,
    fullname: user,
    email: null,
    emailVerified: false,
    canPay: false,
    isPro: false,
    periodEnd: null,
    avatarUrl: "",
    billingMode: "prepaid",
    orgs: [],
    auth: {
      type: "access_token",
      accessToken: {
        displayName: user,
        role: role === "write" ? "write" : "read",
        createdAt: new Date(0).toISOString(),
      },
    },
  });
}
